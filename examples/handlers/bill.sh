#!/bin/sh
# rokini run orders --group billing --handler lines -- sh examples/handlers/bill.sh
while IFS= read -r line; do
  token=${line#*\"token\":}
  token=${token%%,*}
  echo "billed $line" >&2 # the work
  echo "$token"
done
