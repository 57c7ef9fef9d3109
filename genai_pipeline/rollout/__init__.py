"""How a release gets user traffic, keeps it, and loses it. Each folder imports only from the folders below it.

| folder | what it does |
|---|---|
| control | decides the next step of each model, at every tick of the version sensor |
| watch, upkeep | watches a new live release and rolls it back; finds drift and redeploys |
| capacity | finds out whether the candidate fits, and what that costs |
| switch | starts candidates, moves traffic, drains, rolls back, ends releases |
| pools, record | knows what node pools offer; reads and writes records |
"""
