#!/bin/bash
# Everything again in 18 minutes of one GPU: the brain with everyone and by folds on both grids, a U-Net on two folds,
# the pelvis with everyone and without each of the two labelled men on both grids. The packs must be there
# (brain_pack.py on both grids, pelvis_anatomies.py); needs torch, triton, numpy, scipy, for the
# U-Net dynamic-network-architectures, and 16 cores that generate pelves meanwhile.
#
#     Training/train_on_gpu.sh RUNS_FOLDER [BANK_FOLDER, fast and with 40 GB free: /dev/shm/pelvis]
set -u
cd "$(dirname "$0")/.."
runs=$1 bank=${2:-/dev/shm/pelvis}
mkdir -p "$runs" "$bank"
export PYTHONUNBUFFERED=1

cores=$(nproc)
python3 Training/pelvis_bank.py --endless --processes $((cores > 3 ? cores - 3 : 1)) --spacing 3 --output "$bank" > "$runs/bank.txt" 2>&1 &
generator=$!
trap 'kill $generator 2> /dev/null' EXIT

brain="python3 Training/train_brain.py --packs Training/packs/brain --batch 2 --device cuda --checkpoint-minutes 0.35"
pelvis="python3 Training/train_pelvis.py --bank $bank --spacing 3 --width 32 --device cuda --checkpoint-minutes 0.5 --wait-for 64"
{
    $brain --run "$runs/brain" --hold-out 0 --minutes 1.95
    $brain --run "$runs/brain" --hold-out 1 2 3 4 5 --minutes 0.87
    $brain --run "$runs/unet" --network PlainConvUNet --hold-out 5 4 --minutes 0.8
} > "$runs/brain.txt" 2>&1 &
brain_job=$!
{
    $pelvis --run "$runs/pelvis-all" --minutes 4
    $pelvis --run "$runs/pelvis-no-umea" --leave-out umea --minutes 2.1
    $pelvis --run "$runs/pelvis-no-totalseg" --leave-out totalseg --minutes 2.1
    coarse="$pelvis --coarse 6 --learning-rate 2e-3 --minutes 0.5"
    $coarse --run "$runs/pelvis-coarse/all" --start-from "$runs/pelvis-all/averaged.pt"
    $coarse --run "$runs/pelvis-coarse/no-umea" --leave-out umea --start-from "$runs/pelvis-no-umea/averaged.pt"
    $coarse --run "$runs/pelvis-coarse/no-totalseg" --leave-out totalseg --start-from "$runs/pelvis-no-totalseg/averaged.pt"
} > "$runs/pelvis.txt" 2>&1 &
wait $brain_job $!
# Then, with the GPU to itself, the brain with everyone once more.
$brain --run "$runs/brain-more" --hold-out 0 --minutes 2.2 --from 0.3 --start-from "$runs/brain/all/averaged.pt"
# And on the finer grid: the two are averaged.
fine="python3 Training/train_brain.py --packs Training/packs/brain-1.5 --batch 2 --device cuda --from 0.25 --checkpoint-minutes 0.35"
$fine --run "$runs/fine" --hold-out 0 --minutes 1.5 --start-from "$runs/brain-more/all/averaged.pt"
for fold in 1 2 3 4 5; do
    $fine --run "$runs/fine" --hold-out $fold --minutes 0.9 --start-from "$runs/brain/fold-$fold/averaged.pt"
done
