/* A shared object that is no module. */
int microbox_nothing;
int microbox_nothing = 1;
