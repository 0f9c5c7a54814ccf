"""The command line ./netboot: asks netboot servers, and answers in tables and sentences."""
