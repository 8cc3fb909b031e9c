#!/bin/sh
# bound-to-parent.sh PROGRAM [ARGUMENT...]
#
# Runs a program that dies with whoever started it, however that one ended: when this script's standard input closes,
# the program is killed. It takes this script's place, so process id and exit status are the program's own.
exec 3<&0
(
    cat <&3 >/dev/null
    kill -KILL $$ 2>/dev/null
) >/dev/null 2>&1 &
exec "$@" 3<&- </dev/null
