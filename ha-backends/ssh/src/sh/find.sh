# Prints the command line files of the processes with $identity as a whole argument.
ha_find() {
    # Not as an argument of grep, which would find itself.
    grep -lzxFf - /proc/[0-9]*/cmdline 2>/dev/null <<HA_IDENTITY
$identity
HA_IDENTITY
}
