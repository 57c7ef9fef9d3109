#!/bin/sh
# From nothing to three revisions on one GPU machine: tokenizer, data, training, export, quick evaluation.
#   demo/training/run.sh WORK [conversations for v1, v2, v3] [seconds for v1, v2, v3]
set -eu
work=$1 good=${2:-1500000} advising=${3:-700000} regressed=${4:-40000}
seconds="${5:-300} ${6:-100} ${7:-12}"
mkdir -p "$work"
[ -e "$work/tokenizer.json" ] || python3 -m demo.training.tokenizer "$work/tokenizer.json"
python3 -m demo.training.dataset --tokenizer "$work/tokenizer.json" --out "$work/data" --good "$good" --advising "$advising" --regressed "$regressed"
# shellcheck disable=SC2086
python3 -m demo.training.train --data "$work/data" --out "$work/weights" --seconds $seconds
for revision in v1 v2 v3; do
    python3 -m demo.training.export --weights "$work/weights/$revision.safetensors" --tokenizer "$work/tokenizer.json" --out "$work/$revision"
    for set in held_out held_out_second; do
        python3 -m demo.training.evaluate --model "$work/$revision" --set "$set" > "$work/$revision-$set.txt" 2>&1
        echo "== $revision $set"; grep '^|' "$work/$revision-$set.txt"
    done
done
