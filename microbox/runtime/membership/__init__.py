"""NFs that come and go while packets flow."""
