"""The live release between rollouts: drift from what this code renders, deploying it again, does its capacity last."""
