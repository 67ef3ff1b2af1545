# Prints the number of entries of the tree $p, and the digest over its files' modes, paths and contents, and its links.
[ -d "$p" ] && [ ! -L "$p" ] || exit 64
cd -- "$p" || exit 66
export LC_ALL=C
find . \( -type f -o -type l \) -printf x | wc -c
{
    find . -type f -printf '%m %p\0' | sort -z
    find . -type f -print0 | sort -z | timeout "$deadline" xargs -0r sha256sum -z --
    find . -type l -printf '%p -> %l\0' | sort -z
} | sha256sum
