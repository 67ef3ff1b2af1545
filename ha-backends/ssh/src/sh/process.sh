# Prints the boot id, what the pid file says, and the stat line of every process with $identity as a whole argument.
IFS= read -r boot </proc/sys/kernel/random/boot_id
printf '%s\n' "$boot"
if [ -f "$home/$pid_file" ]; then head -c 200 "$home/$pid_file" | tr '\000\n' '  '; fi
echo
for f in $(printf '%s\n' "$identity" | grep -lzxFf - /proc/[0-9]*/cmdline 2>/dev/null); do
    if IFS= read -r line 2>/dev/null <"${f%cmdline}stat"; then printf '%s\n' "$line"; fi
done
