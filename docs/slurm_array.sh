#!/bin/bash
# One study on the tasks of a SLURM array:
#
#     sbatch --array=0-7 docs/slurm_array.sh
#     sbatch --array=0-7 docs/slurm_array.sh --data cifar10 --network conv4
#     sbatch --array=0-7 --export=ALL,STORAGE=postgresql://studies@db.example.org/studies docs/slurm_array.sh
#
# Every task is a member of the same study. What follows the script's name are options of the study,
# and win over those below. Give the same sbatch again to go on after a time limit.
#SBATCH --job-name=ternary
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --output=slurm-%A_%a.out

set -euo pipefail

# sbatch runs a copy of this file: the folder from which it was submitted is the repository.
cd "${SLURM_SUBMIT_DIR:?start this with sbatch}"
source .venv/bin/activate

# A journal on the shared file system, unless STORAGE names a server. A database's password belongs
# into ~/.pgpass (mode 600): what stands in a job's environment or command, others can read.
storage=${STORAGE:-$PWD/outputs/ternary_sparsity.journal}
mkdir -p outputs

# exec, so that SLURM's signals reach the study itself. Each task has a results folder of its own; that
# of the member which leads at the end holds the table.
exec python -m studies.ternary_sparsity \
    --data fashion_mnist \
    --storage "$storage" \
    --output "outputs/ternary_sparsity/task-${SLURM_ARRAY_TASK_ID:-0}" \
    --workers "${SLURM_CPUS_PER_TASK:-1}" \
    --quiet \
    "$@"
