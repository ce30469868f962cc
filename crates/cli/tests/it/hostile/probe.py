# Looks for what is not its own and prints what it found as JSON. Runs on the host and in a gate.
import ctypes, errno, glob, json, os, socket, sys

bait = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
found = {}


def readable(path):
    try:
        with open(path, "rb") as file:
            file.read(1)
        return True
    except OSError:
        return False


def attempt(action):
    """What a system call says that is made in a child, so that success changes nothing here."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        ctypes.set_errno(0)
        failed = action() != 0
        number = ctypes.get_errno()
        os.write(write, (errno.errorcode.get(number, str(number)) if failed else "done").encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    answer = os.read(read, 100).decode()
    os.close(read)
    return answer


def connects(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(3)
            connection.connect(address)
        return True
    except OSError:
        return False


def mount_privately():
    CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 0x40000
    libc.unshare(CLONE_NEWNS)
    libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
    return libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)


def write_to(path):
    try:
        with open(path, "w"):
            pass
        os.unlink(path)
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def canary_files():
    names = []
    for top in ["/home", "/root", "/tmp", "/var", "/run", "/mnt", "/srv", "/workspace", "/etc"]:
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                if "sandgate-canary" in name or name.startswith("id_ed25519") or name == "state.db":
                    names.append(path)
    return names


inside = "SANDGATE" in os.environ and os.path.isdir("/run/sandgate")
found["home"] = os.path.exists(bait["home"] + "/sandgate-canary.txt")
found["sshKey"] = readable(bait["home"] + "/.ssh/id_ed25519")
found["state"] = os.path.exists(bait["state"])
found["database"] = os.path.exists(bait["state"] + "/sandgate/state.db")
found["throughProc"] = any(
    os.path.exists(f"/proc/{pid}/{door}" + bait["home"]) for pid in [1, os.getppid(), os.getpid()] for door in ["root", "cwd"]
)
found["shadow"] = os.path.exists("/etc/shadow")
# Homes of others with anything in them but empty folders on the way to tools.
found["otherHomes"] = [
    path
    for home in ["/root", *glob.glob("/home/*")]
    if home != os.environ.get("HOME")
    for path in glob.glob(home + "/.*") + glob.glob(home + "/*")
    if os.path.basename(path) in (".ssh", ".netrc", ".aws", ".gnupg", ".bash_history", ".docker", ".git-credentials", ".config")
]
found["canaryFiles"] = canary_files() if inside else []

command_lines = []
environments = b""
for folder in glob.glob("/proc/[0-9]*"):
    try:
        command_lines.append(open(folder + "/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace"))
        environments += open(folder + "/environ", "rb").read()
    except OSError:
        pass
found["processes"] = len(command_lines)
found["sleeper"] = any(bait["sleeper"] in line and "python3" not in line for line in command_lines)
own = "\0".join(f"{name}={value}" for name, value in os.environ.items())
found["variables"] = "sandgate-canary" in own or b"sandgate-canary-" in environments

found["loopback"] = connects(socket.AF_INET, ("127.0.0.1", bait["port"]))
found["abstractSocket"] = connects(socket.AF_UNIX, "\0" + bait["abstract"])

descriptors = []
for name in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue
    if int(name) > 2:
        descriptors.append(target)
found["inherited"] = descriptors if inside else [path for path in descriptors if "id_ed25519" in path]

found["status"] = dict(
    line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line
)
found["unshare"] = attempt(lambda: libc.unshare(0x10000000))
found["mount"] = attempt(mount_privately)
found["usr"] = write_to("/usr/sandgate-probe") if inside else "not tried"
found["writes"] = write_to(bait["writable"] + "/sandgate-probe") == "done"

found["throughProxy"] = {}
if os.environ.get("http_proxy") and inside:
    port = bait["port"]
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254"]:
        url = f"http://{host}:{port}/"
        # Spoken by hand: a library would leave the proxy out for addresses of the own loopback.
        proxy = os.environ["http_proxy"].split("//")[1].rstrip("/").rsplit(":", 1)
        try:
            with socket.create_connection((proxy[0], int(proxy[1])), timeout=10) as connection:
                connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while part := connection.recv(4096):
                    answer += part
            found["throughProxy"][url] = answer.decode(errors="replace")[:300]
        except OSError as error:
            found["throughProxy"][url] = str(error)

print(json.dumps(found))
