"""Look after the live release between rollouts: find drift, redeploy, check that its capacity lasts."""
