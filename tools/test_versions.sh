#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Run the tests with other versions of tshark, Lua and Python, each in its own Debian: bash tools/test_versions.sh [RELEASE ...]
# The systems stay in COMPAT_DIR; remove one to build it again. None of your files is mounted into them.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
    echo "tools/test_versions.sh makes Debian systems with debootstrap and chroot, which only root can: sudo make test-versions" >&2
    exit 2
fi
if ! command -v debootstrap >/dev/null; then
    echo "installing debootstrap ..." >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap debian-archive-keyring >/dev/null
fi

[ $# -gt 0 ] || set -- bookworm trixie sid
systems=${COMPAT_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pybridge-compat}
mkdir -p "$systems"
umask 022
trap 'exit 130' INT

# shellcheck disable=SC2016 # apt-get expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sed -n 1p || :)
mapfile -t network < <(env | grep -iE '^((https?|all|no)_proxy|pip_(index_url|extra_index_url|cert)|ssl_cert_file)=')

connect() { # folder: give it this system's settings of the network and of certificates
    for file in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e $file ] || cp -L --remove-destination $file "$1$file"
    done
    ! command -v apt-config >/dev/null || apt-config dump | grep ^Acquire:: >"$1/etc/apt/apt.conf.d/99host"
}

at_home() { # folder command ...: run it as root in that system; the mounts vanish when the command ends
    # shellcheck disable=SC2016 # the inner shell expands them
    unshare --mount sh -ec '
        mount -t proc proc "$0/proc"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" "$@"' "$1" \
        env -i HOME=/home/compat PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "${network[@]}" "${@:2}"
}

as_user() { # folder command ...: run it as an ordinary user, because Wireshark 4.4 and later ignore plugins as root
    at_home "$1" setpriv --reuid=65534 --regid=65534 --clear-groups env --chdir=/home/compat/pybridge "${@:2}"
}

bootstrap() { # folder release: make the system, completely or not at all
    rm -rf "$1.part"
    # tshark by apt: debootstrap cannot follow a dependency on a package that another one provides
    unshare --mount debootstrap --variant=minbase --include=ca-certificates "$2" "$1.part" "${mirror:-http://deb.debian.org/debian}" &&
        connect "$1.part" &&
        at_home "$1.part" apt-get update -q &&
        at_home "$1.part" apt-get install -y -q --no-install-recommends make python3-venv tshark &&
        mv "$1.part" "$1"
}

checkout() { # folder: copy the working tree, committed or not, and keep the .venv of the last run
    mkdir -p "$1"
    find "$1" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
    git ls-files -z --cached --others --exclude-standard |
        tar --create --null --files-from=- --ignore-failed-read --warning=no-failed-read | tar --extract --directory="$1"
    chown -R 65534:65534 "$1/.."
}

count() { # log outcome: print the number in pytest's last line
    sed -n 's/.* in [0-9.]*s.*/&/p' "$1" | tail -n 1 | grep -oE "[0-9]+ ($2)" | awk '{n += $1} END {print n + 0}' || :
}

row() { printf '%-10s %-8s %-7s %-7s %7s %7s  %s\n' "$@"; }

status=0
table=$(row release tshark Lua Python passed failed verdict)
for release in "$@"; do
    root=$systems/$release log=$systems/$release.log
    [ -d "$root" ] || echo "$release: debootstrap" >&2
    if ! [ -d "$root" ] && ! bootstrap "$root" "$release" >"$log" 2>&1; then
        tail "$log" >&2
        table+=$'\n'$(row "$release" - - - - - 'no system')
        status=1
        continue
    fi
    connect "$root"
    checkout "$root/home/compat/pybridge"
    at_home "$root" make --silent --directory=/home/compat/pybridge tshark test-tools
    at_home "$root" sh -c 'command -v setcap || apt-get install -y -q --no-install-recommends libcap2-bin
        setcap cap_net_raw,cap_net_admin=eip "$(command -v dumpcap)"' >"$log" 2>&1 # as_user captures, too
    echo "$release: make test" >&2
    verdict=agree
    as_user "$root" make test 2>&1 | tee "$log" >&2 || verdict=FAILED status=1
    versions=$(as_user "$root" tshark -v | tr '\n' ' ')
    table+=$'\n'$(row "$release" \
        "$(sed -n 's/^[^)]*) \([0-9.]*[0-9]\).*/\1/p' <<<"$versions")" \
        "$(sed -n 's/.*[ +]Lua \([0-9.]*[0-9]\).*/\1/p' <<<"$versions")" \
        "$(as_user "$root" python3 -c 'import platform; print(platform.python_version())')" \
        "$(count "$log" passed)" "$(count "$log" 'failed|error')" "$verdict")
done
echo "$table"
exit $status
