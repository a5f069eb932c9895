#!/bin/bash
# A Ray cluster within a Slurm job, and a training on it.
#   sbatch slurm.sh
#SBATCH --job-name=twotower
#SBATCH --nodes=5
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=02:00:00
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
export RAY_worker_niceness=0

# the first node has the program that trains, the others have the workers
srun --nodes=1 --ntasks=1 -w "$head" ray start --head --port=6379 --num-cpus=0 --block &
sleep 20
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 -w "$node" ray start --address="$head:6379" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 20

twotower train config.toml --out runs/first --engine ray --address "$head:6379" --workers $((4 * SLURM_CPUS_PER_TASK))
