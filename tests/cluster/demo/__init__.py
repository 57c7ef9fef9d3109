"""`make cluster-demo`: the product on the cluster of the tests, as an operator installs it, to try it by hand."""
