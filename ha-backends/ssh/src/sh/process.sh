# Prints the boot id, the stat line of every process with $identity as a whole argument, an empty line, and what the pid
# file says.
IFS= read -r boot </proc/sys/kernel/random/boot_id
printf '%s\n' "$boot"
# Not as an argument of grep, which would find itself.
for f in $(grep -lzxFf - /proc/[0-9]*/cmdline 2>/dev/null <<HA_IDENTITY
$identity
HA_IDENTITY
); do
    if IFS= read -r line 2>/dev/null <"${f%cmdline}stat"; then printf '%s\n' "$line"; fi
done
echo
if [ -f "$home/$pid_file" ]; then head -c 200 "$home/$pid_file"; fi
