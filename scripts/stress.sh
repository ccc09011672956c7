#!/usr/bin/env bash
# The label cache under twenty kills: fairseq-smt-cache-labels is ended by SIGKILL at random points and run again, until
# it gets through; every byte must then be that of a run that was never killed. 3 minutes on 2 cores.
#   STRESS_KILLS  number of kills, default 20
#   STRESS_DIR    where everything goes, default a new temporary folder
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
setup_environment

kills="${STRESS_KILLS:-20}"
dir="${STRESS_DIR:-$(mktemp -d)}"
export PYTHONWARNINGS=ignore OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$dir"
python -c 'from pydoc_data.topics import topics; print("".join(map(topics.get, sorted(topics))))' >"$dir/text.txt"
python scripts/prepare_text.py --destdir "$dir/data" "$dir/text.txt"
fairseq-train "$dir/data" --user-dir fairseq_smt --task smt_lm --tokens-per-sample 32 --add-bos-token \
    --arch smt_lm_tiny --criterion smt --batch-size 8 --optimizer adam --lr 0.008 --max-update 20 --cpu \
    --disable-validation --save-dir "$dir/checkpoints" >"$dir/train.log" 2>&1 || { tail -5 "$dir/train.log"; exit 1; }

label() { # label FOLDER: small batches and chunks, so that a kill may fall anywhere
    python -m fairseq_smt.cli.cache_labels "$dir/data" --path "$dir/checkpoints/checkpoint_last.pt" --label-cache "$1" \
        --splits train --chunk-positions 200 --max-tokens 64 --dtype int8 --cpu --no-progress
}

finished() { find "$dir/killed" -name '*.journal' -exec cat {} + 2>/dev/null | wc -l; }

label "$dir/whole" 2>"$dir/whole.log"
chunks=$(python -c 'import glob, json, sys; print(sum(len(json.load(open(f))["checksums"]) for f in glob.glob(sys.argv[1])))' \
    "$dir/whole/*/*.json")
rm -rf "$dir/killed"
done_kills=0
for ((i = 1; i <= kills; i++)); do
    label "$dir/killed" 2>"$dir/killed.log" &
    process=$!
    # a random place in the i-th share of the chunks
    target=$(((i - 1) * chunks / (kills + 1) + RANDOM % (chunks / (kills + 1) + 1)))
    while kill -0 "$process" 2>/dev/null && [ "$(finished)" -lt "$target" ]; do sleep 0.02; done
    sleep "0.0$((RANDOM % 10))"
    kill -9 "$process" 2>/dev/null && done_kills=$((done_kills + 1))
    wait "$process" 2>/dev/null || true
    echo "stress: kill $i of $kills, $(finished) of $chunks chunks are done"
done
label "$dir/killed" 2>"$dir/killed.log"
label "$dir/killed" --verify 2>>"$dir/killed.log"
diff -r -x '*.lock' "$dir/whole" "$dir/killed" || { echo "stress: the folders differ" >&2; exit 1; }
echo "stress: $done_kills kills; all files are those of the run that was never killed"
