#!/bin/sh
# The first process of the node's own network, mount and process namespaces. Whatever is made here ends with it.
# Needs NODE_ADDRESS, POD_CIDR, SERVICE_CIDR, DNS_ADDRESS; the rest of the command line is what runs in the end.
set -eu
mount --make-rshared /
# Sockets, CNI's namespaces and leases, iptables' lock: not the machine's own.
for folder in /run /var/lib/cni /var/log/pods /var/log/containers; do
  mkdir -p "$folder"
  mount -t tmpfs tmpfs "$folder"
done
ip link set lo up
# A bridge without ports: not every kernel has dummy interfaces.
ip link add node0 type bridge
ip address add "$NODE_ADDRESS/24" dev node0
ip link set node0 up
# Programs beside the node, such as KubeRay's operator, find Services by name.
printf 'search svc.cluster.local cluster.local\nnameserver %s\n' "$DNS_ADDRESS" > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
# There is no way out. A Service's address needs some route, or it is refused before iptables can rewrite it.
ip route add "$SERVICE_CIDR" dev node0
echo 1 > /proc/sys/net/ipv4/ip_forward
# One machine stands for many clients. Were a port reused while the kernel still remembers a connection from it, the new
# one would go the way of the old: to a pod that is gone, or, where a Service was asked before kube-proxy knew of it, to
# nowhere ("No route to host", for two minutes). More ports, and a shorter memory of what ended or was never answered.
echo "16384 65535" > /proc/sys/net/ipv4/ip_local_port_range
for state in syn_sent fin_wait last_ack time_wait close; do
  setting=/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$state
  if [ -w "$setting" ]; then echo 5 > "$setting"; fi
done
exec "$@"
