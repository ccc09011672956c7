#!/usr/bin/env bash
# The main job on Shakespeare: prepare, train with SMT and then with DMT, score, generate, and report.
#   DEMO_UPDATES  updates of SMT, default 1000; DMT has four times as many; another value trains anew
#   DEMO_DIR      where everything goes, default runs/demo; what is there is reused
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
setup_environment

updates="${DEMO_UPDATES:-1000}"
dir="${DEMO_DIR:-runs/demo}"
case "$updates" in '' | *[!0-9]* | 0) echo "demo: DEMO_UPDATES must be a positive number, not '$updates'" >&2; exit 1 ;; esac
dmt_updates=$((4 * updates))
data="$dir/data" run="$dir/smt-dmt-$updates"
blocks=(--task smt_lm --tokens-per-sample 128 --sample-break-mode none --add-bos-token)
mkdir -p "$run"

stage() { # stage NAME COMMAND...: run it once, note its seconds
    local name="$1" start=$SECONDS
    shift
    if [ -f "$run/$name.seconds" ]; then
        echo "== $name: reused"
    else
        echo "== $name: $*"
        "$@" || { echo "demo: $name failed; the reason stands above" >&2; exit 1; }
        echo $((SECONDS - start)) >"$run/$name.seconds"
    fi
}

prepare() { [ -f "$data/test.bin" ] || python scripts/prepare_shakespeare.py --destdir "$data"; }

forecast=() # flags of progress.py

train() { # train STAGE UPDATES FLAGS...: a fairseq-train line that validates and saves four times
    local stage="$1" updates="$2" every=$((($2 + 3) / 4))
    shift 2
    fairseq-train "$data" --user-dir fairseq_smt "${blocks[@]}" --arch smt_lm_small "$@" --max-update "$updates" \
        --optimizer adam --adam-betas '(0.9,0.95)' --weight-decay 0.01 --clip-norm 1 \
        --lr-scheduler tri_stage --phase-ratio '(0.0125,0.5875,0.4)' --final-lr-scale 0.05 \
        --batch-size-valid 64 --max-epoch 1000 --validate-interval-updates "$every" --best-checkpoint-metric rnn_nll \
        --no-epoch-checkpoints --save-interval-updates "$every" --keep-interval-updates 1 \
        --save-dir "$run/$stage" --tensorboard-logdir "$run/tensorboard/$stage" \
        --log-format simple --log-interval 25 --num-workers 1 --cpu 2>&1 |
        tee "$run/$stage.log" | python scripts/progress.py "${forecast[@]}"
}

smt() {
    local forecast=(--updates "$updates" --whole 5.5) # DMT takes about four times as long, scores the rest
    train smt "$updates" --criterion smt
}

dmt() {
    train dmt "$dmt_updates" --criterion dmt --train rnn --finetune-from-model "$run/smt/checkpoint_best.pt"
}

score() { # score NAME STAGE MODEL_OVERRIDES
    fairseq-eval-lm "$data" --user-dir fairseq_smt "${blocks[@]}" --path "$run/$2/checkpoint_best.pt" \
        --gen-subset test --batch-size 64 --model-overrides "$3" --cpu >"$run/score-$1.log" 2>&1 ||
        { tail -5 "$run/score-$1.log" >&2; return 1; }
    tail -1 "$run/score-$1.log"
}

baselines() { python scripts/ngram_baselines.py "$data" | tee "$run/ngrams.txt"; }

generate() {
    fairseq-generate "$data" --user-dir fairseq_smt "${blocks[@]}" --path "$run/dmt/checkpoint_best.pt" \
        --model-overrides "{'memory_head': 'none'}" --gen-subset test --distributed-world-size 3000 --distributed-rank 7 --batch-size 1 \
        --prefix-size 64 --min-len 1000 --max-len-b 1000 --beam 1 --nbest 1 --sampling --sampling-topp 0.9 --seed 1 \
        --cpu >"$run/generate.log" 2>&1 || { tail -5 "$run/generate.log" >&2; return 1; }
    grep -m 1 '^H-' "$run/generate.log" | cut -f3 | sed -E 's/^(([^ ]+ ){64})/\1▶ /' |
        fairseq-smt-prepare-text --decode >"$run/sample.txt"
    echo "-- 64 symbols of a test play, ▶, and how the RNN alone goes on:"
    cat "$run/sample.txt"
    echo "--"
}

report() { fairseq-smt-report "$run/smt" "$run/dmt" --data "$data" --cpu --output "$run/report.html"; }

stage prepare prepare
stage baselines baselines
stage smt smt
stage dmt dmt
stage score-smt score smt smt "{'memory_head': 'none'}"
stage score-dmt score dmt dmt "{'memory_head': 'none'}"
stage score-ceiling score ceiling smt "{'score_with': 'teacher'}"
stage generate generate
stage report report

loss() { sed -nE 's/.*Loss \(base 2\): ([0-9.]+).*/\1/p' "$run/score-$1.log"; }
echo
echo "Bits per character on the test plays, all rows on the same blocks of 128:"
printf '  %-48s %s\n' "unigram" "$(awk '/unigram/{print $2}' "$run/ngrams.txt")" \
    "bigram" "$(awk '/bigram/{print $2}' "$run/ngrams.txt")" \
    "RNN alone after SMT" "$(loss smt)" \
    "RNN alone after SMT and DMT" "$(loss dmt)" \
    "ceiling: the readout on the teacher's memories" "$(loss ceiling)"
sed -nE 's/.*(bits per byte = .*)/  (\1)/p' "$run/score-dmt.log"
echo "Seconds:"
for name in prepare baselines smt dmt score-smt score-dmt score-ceiling generate report; do
    printf '  %-48s %s\n' "$name" "$(cat "$run/$name.seconds")"
done
echo "Checkpoint:  $run/dmt/checkpoint_best.pt"
echo "Sample:      $run/sample.txt"
echo "TensorBoard: tensorboard --logdir $run/tensorboard"
echo "Report:      $run/report.html"
