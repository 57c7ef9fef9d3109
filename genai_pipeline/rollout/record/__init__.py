"""What is remembered in the object store: records, the pointer to what is live, history, notices."""
