#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Take the pictures of docs/images again: make screenshots; tools/screenshots.sh page leaves Wireshark's as they are
# Wireshark runs on a display and with a configuration of its own; yours is not changed.
set -eu
cd "$(dirname "$0")/.."

# --- tools

only=${1:-all}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=
pairs="mergecap:wireshark-common tshark:tshark chromium:chromium pngquant:pngquant fc-list:fontconfig script:bsdutils"
[ "$only" = page ] || pairs="$pairs wireshark:wireshark Xvfb:xvfb xdotool:xdotool import:imagemagick"
for pair in $pairs; do
    command -v "${pair%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
fc-list 2>/dev/null | grep -q DejaVuSansMono || missing="$missing fonts-dejavu-core"
if [ -n "$missing" ]; then
    echo "installing$missing ..." >&2
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null
fi
[ -x .venv/bin/pybridge ] || make setup

work=$(mktemp -d)
xvfb='' wireshark=''
trap 'kill $wireshark $xvfb 2>/dev/null || :; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p docs/images "$work/home" "$work/captures"
mkdir -m 700 "$work/run"
export HOME="$work/home" XDG_RUNTIME_DIR="$work/run" TZ=UTC LC_ALL=C.UTF-8

# --- The capture that is shown

# It is made of goldens, each with other hosts and times.
.venv/bin/python - "$work/captures" <<'END'
import re
import sys
from pathlib import Path

sys.path.insert(0, "")
from tools.goldens.build import capture
from tools.goldens.listing import find, parse

NAMES = """article-curl close-four-way-by-client ipv6 unanswered refused syn-retransmission icmp-host-unreachable refused
    half-open article-wget close-simultaneous refused-retry rst-by-server icmp-time-exceeded half-close-data
    fin-retransmission client-aborts-in-syn-sent article-ssh unanswered""".split()
for number, name in enumerate(NAMES, 10):
    text = find(f"{name}.listing").read_text(encoding="utf-8")
    text = re.sub(r"10\.0\.0\.1:5000", f"10.0.0.{100 + number % 4}:50{number}", text)
    text = re.sub(r"^start .*", f"start 2024-01-01T09:00:{number}Z", text, flags=re.MULTILINE)
    Path(sys.argv[1], f"{number}.pcapng").write_bytes(capture(parse(name, text)))
END
mergecap -w "$work/office.pcapng" "$work"/captures/*.pcapng

# --- Wireshark

width=1430 height=680

profile() { # folder: the plugin's profile with a font of its own; Wireshark rewrites it, so that every run gets a new one
    mkdir -p "$1/profiles"
    cp -R plugin/profile "$1/profiles/TCP Handshake"
    cat >>"$1/profiles/TCP Handshake/preferences" <<'END'
gui.update.enabled: FALSE
gui.qt.font_name: DejaVu Sans Mono,9,-1,5,50,0,0,0,0,0
tcp.ignore_tcp_timestamps: TRUE
END
    cat >"$1/profiles/TCP Handshake/recent" <<'END'
gui.byte_view_show: FALSE
gui.time_precision: USEC
gui.geometry_main_upper_pane: 220
column.width: %m, 44, %t, 74, %s, 126, %d, 126, "%Cus:tcp_handshake.role", 118, "%Cus:tcp_handshake.handshake_step or tcp_handshake.teardown_step", 44, "%Cus:tcp_handshake.client_state", 96, "%Cus:tcp_handshake.server_state", 106, "%Cus:tcp_handshake.response_time", 92, "%Cus:tcp_handshake.diagnosis", 110, "%Cus:tcp_handshake.suspect", 60, %i, 502
END
    cat >"$1/recent_common" <<END
gui.geometry_main_x: 0
gui.geometry_main_y: 0
gui.geometry_main_width: $width
gui.geometry_main_height: $height
privs.warn_if_elevated: FALSE
END
}

settled() { # file: take pictures of the display until two are the same
    : >"$1"
    for _ in $(seq 30); do
        sleep 1
        mv "$1" "$1.before"
        import -window root "png:$1"
        cmp -s "$1" "$1.before" && return
    done
    echo "the display keeps changing" >&2
    return 1
}

wireshark_shot() { # picture capture frame [key ...]: opens the plugin's tree, or presses keys instead
    picture=$1 capture=$2 frame=$3
    shift 3
    profile "$work/$picture"
    WIRESHARK_CONFIG_DIR="$work/$picture" QT_QPA_PLATFORM=xcb QT_STYLE_OVERRIDE=Fusion \
        wireshark -C "TCP Handshake" -X lua_script:plugin/tcp_handshake.lua -r "$capture" -g "$frame" 2>"$work/$picture.stderr" &
    wireshark=$!
    window=$(timeout 60 xdotool search --sync --onlyvisible --limit 1 --name "^$(basename "$capture")")
    xdotool windowmove "$window" 0 0 windowsize "$window" $width $height windowfocus "$window"
    settled "$work/shot.png"
    if [ $# -gt 0 ]; then
        xdotool key --delay 300 "$@"
    else # into the empty bottom of the details; the last item is the plugin's. Open it, and put the pointer away.
        xdotool mousemove $((width / 2)) $((height - 60)) click 1 key --delay 200 ctrl+Left Home End Right mousemove $width $height
    fi
    settled "$work/shot.png"
    kill $wireshark
    wait $wireshark 2>/dev/null || :
    wireshark=
    if grep -i '\.lua' "$work/$picture.stderr" >&2; then exit 1; fi
    shrink "$work/shot.png" "$picture"
}

shrink() { # file picture [colours]
    pngquant --strip --speed 1 "${3:-256}" - <"$1" >"docs/images/$2.png"
}

wireshark_shots() {
    Xvfb -displayfd 3 -screen 0 ${width}x${height}x24 3>"$work/display" 2>/dev/null &
    xvfb=$!
    until [ -s "$work/display" ]; do sleep 0.2; done
    DISPLAY=:$(cat "$work/display")
    export DISPLAY

    # Wireshark shows Lua errors in dialogs and in the tree; tshark prints them.
    if tshark -X lua_script:plugin/tcp_handshake.lua -r pcaps/article-wget.pcapng -V 2>&1 | grep -i 'lua.*error\|\.lua:' >&2; then exit 1; fi
    wireshark_shot wireshark-handshake pcaps/article-wget.pcapng 2
    wireshark_shot wireshark-merged-close pcaps/article-wget.pcapng 9
    wireshark_shot wireshark-refused pcaps/refused.pcapng 2
    wireshark_shot wireshark-connections "$work/office.pcapng" 1 alt+t Down Down Down Return
    wireshark_shot wireshark-expert "$work/office.pcapng" 1 alt+a Up Return
}

[ "$only" = page ] || wireshark_shots

# --- report and ladder

page_shot() { # picture page width height [colours]
    chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/chromium" \
        --force-device-scale-factor=1.5 --window-size="$3,$4" --screenshot="$work/shot.png" "file://$2" 2>/dev/null >&2
    shrink "$work/shot.png" "$1" "${5:-256}"
}

(cd "$work" && "$OLDPWD/.venv/bin/pybridge" report -o report.html office.pcapng >/dev/null)
page_shot report "$work/report.html" 1180 1545

.venv/bin/python -c 'import pybridge; print(pybridge.read("pcaps/article-wget.pcapng").ladder(0), end="")' >"$work/ladder.svg"
read -r ladder_width ladder_height <<END
$(sed -n 's/.* width="\([0-9]*\)" height="\([0-9]*\)".*/\1 \2/p;q' "$work/ladder.svg")
END
page_shot ladder "$work/ladder.svg" "$ladder_width" "$ladder_height"

# --- terminal

terminal_shot() { # picture columns argument ...: what pybridge prints on a terminal of this width
    picture=$1 columns=$2
    shift 2
    (cd "$work" && SHELL=/bin/sh TERM=xterm-256color script -qec "stty cols $columns; '$OLDPWD/.venv/bin/pybridge' $*" /dev/null) >"$work/typescript"
    .venv/bin/python - "$columns" "$work/typescript" "$work/terminal.svg" "pybridge $*" <<'END'
import io
import re
import sys

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

columns, typescript, svg, title = sys.argv[1:]
with open(typescript, encoding="utf-8", newline="") as stream:
    shown = [line.rpartition("\r")[2] for line in stream.read().rstrip().split("\r\n")]
console = Console(width=int(columns), record=True, file=io.StringIO())
console.print(Text.from_ansi("\n".join([*shown, ""])), soft_wrap=False)
form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
console.save_svg(svg, title=title, theme=MONOKAI, code_format=form)
END
    read -r terminal_width terminal_height <<END
$(sed -n 's/.*viewBox="0 0 \([0-9]*\)[.0-9]* \([0-9]*\).*/\1 \2/p;q' "$work/terminal.svg")
END
    page_shot "$picture" "$work/terminal.svg" "$terminal_width" "$terminal_height" 16
}

terminal_shot terminal-summary 100 office.pcapng
terminal_shot terminal-ladder 100 ladder office.pcapng 5

ls -l docs/images
