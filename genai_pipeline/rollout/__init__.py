"""How a release comes to have user traffic, keeps it, and loses it. Each folder may import only those below it:

| folder | what |
|---|---|
| control | what to do about each model now; the tick that the sensors ask |
| watch, upkeep | what is live: the watch after promotion and the way back; drift, redeploys |
| capacity | room for the candidate, and what it costs |
| switch | candidate, traffic, drain, roll back, end |
| pools, record | what node pools offer; what is remembered in the store |
"""
