/* A module that was built against headers of another version. */
#include "microbox/include/microbox.h"

const struct mb_module microbox_module = {.abi = MB_MODULE_ABI + 1, .name = "other_version"};
