#!/bin/sh
# The fencing device of the player: HOME/NODE says what it does and how long that takes; HOME/crash.NODE asks the player for
# the power failure, who removes it when it is done.
home=HOME
node=
asked=
while read -r line; do
  case $line in nodename=*) node=${line#nodename=} ;; action=monitor) asked=yes ;; esac
done
[ -e "$home/$node" ] || exit 4
read -r does takes < "$home/$node"
[ "$does" = hangs ] && takes=100000
[ -n "$asked" ] && case $does in
works | lies) exit 0 ;;
fails) exit 5 ;;
esac
sleep "$takes"
read -r does takes < "$home/$node"
case $does in
works)
  : > "$home/crash.$node"
  while [ -e "$home/crash.$node" ]; do sleep 0.01; done
  ;;
lies) ;;
*) exit 5 ;;
esac
