#!/bin/busybox sh
# What runs inside: the first process of a kernel under test, with the real executable and nothing
# but busybox and iproute2 beside it. Prints each step as "@@ NAME", its output, "@@ = EXIT CODE";
# kernels_test.ts judges them.
#
#     client ca 198.51.100.2 -- sa 198.51.100.1 server and relay sb 203.0.113.1 -- ba 203.0.113.2
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mkdir -p /proc /sys /dev /tmp /run /var/lib
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf
for module in /modules/*.ko; do insmod "$module"; done

umask 077
# Busybox's shell takes its own for this name.
ip() { /usr/sbin/ip "$@"; }

step() {
  echo "@@ $1"
  shift
  "$@" 2>&1
  echo "@@ = $?"
}

# Not "ip netns exec", which hides the BPF file system.
in_ns() {
  namespace=$1
  shift
  nsenter --net=/run/netns/"$namespace" "$@"
}

connect() {
  ip link add "$2" netns "$1" type veth peer name "$5" netns "$4"
  ip -n "$1" addr add "$3/24" dev "$2"
  ip -n "$4" addr add "$6/24" dev "$5"
  ip -n "$1" link set "$2" up
  ip -n "$4" link set "$5" up
}

build_network() {
  for name in client server backend; do
    ip netns add $name && ip -n $name link set lo up || poweroff -f
  done
  connect client ca 198.51.100.2 server sa 198.51.100.1
  connect server sb 203.0.113.1 backend ba 203.0.113.2
  # A veth takes frames from XDP only when its other end has a program.
  ip -n client link set dev ca xdp obj /xdp_pass.o sec xdp &&
    ip -n backend link set dev ba xdp obj /xdp_pass.o sec xdp
}

# config NAME LINES... : a server's, with the psk.
config() {
  name=$1
  shift
  printf '%s\n' "psk: \"$PSK\"" 'listen: ":54321"' 'log_level: debug' "instance: $name" \
    "state_dir: /tmp/$name" "$@" >"/tmp/$name.yaml"
}

# start NAMESPACE NAME LOG: the server, up to when it is ready; its process id in $server.
start() {
  nsenter --net=/run/netns/"$1" phantom run -c "/tmp/$2.yaml" >"$3" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    grep -q ' ready ' "$3" && return 0
    kill -0 "$server" || break
    usleep 100000
  done
  cat "$3"
  return 1
}

# ping NAME, through the tunnel. An emulated machine may be slower than ping waits for.
ping_via() {
  for _ in 1 2 3; do
    said=$(in_ns client phantom ping --json -n 2 -c "/tmp/client-$1.yaml")
    code=$?
    [ $code = 0 ] && break
  done
  printf '%s\n' "$said"
  return $code
}

# A client of another key: what it sends does not unmask.
send_junk() {
  in_ns client timeout 90 phantom ping -c /tmp/client-stranger.yaml
  return 0
}

end_server() {
  kill "-$1" "$server"
  wait "$server"
  return 0
}

left_over() {
  find /sys/fs/bpf -mindepth 1
  in_ns server ip -o link show | grep -w prog/xdp
  return 0
}

# run_mode MODE WORKERS: a server's life, with XDP in that mode.
run_mode() {
  mode=$1
  config "$mode" "workers: $2" \
    'relays: [{ listen: "443", to: [{ address: "203.0.113.2:54321" }], only: phantom }]' \
    "ebpf: { interface: [sa, sb], xdp_mode: $mode }"
  step "$mode start" start server "$mode" "/tmp/$mode.log"
  step "$mode ping" ping_via server
  step "$mode relay ping" ping_via relay
  step "$mode bench" in_ns client phantom bench --json --seconds 1 --streams 2 \
    -c /tmp/client-server.yaml
  step "$mode junk" send_junk
  step "$mode status" in_ns server phantom status --json -c "/tmp/$mode.yaml"
  end_server KILL
  step "$mode status when killed" in_ns server phantom status --json --instance "$mode"
  step "$mode log" cat "/tmp/$mode.log"
  step "$mode start again" start server "$mode" "/tmp/$mode-2.log"
  step "$mode ping again" ping_via server
  end_server TERM
  step "$mode log again" cat "/tmp/$mode-2.log"
  step "$mode unload" in_ns server phantom unload --instance "$mode"
  step "$mode left over" left_over
}

PSK=$(head -c 32 /dev/urandom | base64)
step kernel uname -r
# Nothing of the rest would say more.
phantom version >/tmp/version 2>&1 || {
  step phantom phantom version
  poweroff -f
}
step doctor phantom doctor --json
config check
step check phantom check --json -c /tmp/check.yaml
step network build_network
printf 'server: "198.51.100.1:54321"\npsk: "%s"\n' "$PSK" >/tmp/client-server.yaml
printf 'server: "198.51.100.1:443"\npsk: "%s"\n' "$PSK" >/tmp/client-relay.yaml
printf 'server: "198.51.100.1:54321"\npsk: "%s"\n' "$(head -c 32 /dev/urandom | base64)" \
  >/tmp/client-stranger.yaml
config backend 'workers: 1' 'ebpf: { enabled: false }'
step backend start backend backend /tmp/backend.log
# One, which AF_XDP has a queue for; two, between which packets are steered.
run_mode native 1
run_mode generic 2
step done true
poweroff -f
