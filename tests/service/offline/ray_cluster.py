"""A Ray cluster of a head and two machines of one core each, all of them on this machine.

python -m tests.service.offline.ray_cluster: says its address; each line on stdin ends one of the
two machines without a warning, and the end of stdin the cluster.
"""

import os
import sys

NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}

if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    # No work runs on the head, so that what runs can be ended.
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1, **NODE) for _ in range(2)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        sys.stdout.write("ended\n")
        sys.stdout.flush()
    cluster.shutdown()
