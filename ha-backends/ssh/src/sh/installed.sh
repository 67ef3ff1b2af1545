# Prints the first lines of what the version command prints, until it ends, whoever else still holds its output.
[ -d "$home" ] || exit 64
cd -- "$home" || exit 66
{
    eval "timeout -s KILL $limit $version" </dev/null 2>/dev/null
    printf '\n%s %s\n' "$mark" "$?"
} | {
    lines=0
    while [ "$lines" -lt 64 ] && IFS= read -r line; do
        case $line in "$mark "*) exit "${line#* }" ;; esac
        printf '%s\n' "$line"
        lines=$((lines + 1))
    done
    exit 70
}
exit $?
