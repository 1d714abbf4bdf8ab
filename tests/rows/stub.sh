#!/bin/sh
# A resource script of the player: it runs if there is a file of its name in HOME/running, and behaves as HOME/quirks says.
home=HOME
word=${0##*/}
while [ $# -gt 1 ]; do word=$word::$1; shift; done
verb=$1
running=$home/running/$word
how=usual
if [ -e "$home/quirks/$word.$verb" ]; then read -r how time < "$home/quirks/$word.$verb"; fi
case $verb in start | stop) echo "$word $verb" >> "$home/calls" ;; esac
[ "$how" = takes ] && sleep "$time"
case $how.$verb in
fails.status) kill -9 $$ ;;
fails.*) exit 1 ;;
*.start) : > "$running" ;;
*.stop) rm -f "$running" ;;
*.status) if [ -e "$running" ] && [ ! -e "$home/quirks/$word.monitor" ]; then echo running; else echo stopped; fi ;;
esac
[ "$how" != misreports ]
