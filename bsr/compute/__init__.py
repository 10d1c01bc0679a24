"""Where Runs are computed: in this process, in processes of this machine, on a cluster."""
