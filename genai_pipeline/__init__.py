"""The whole life of a language model on Amazon EKS, and the same on one laptop."""
