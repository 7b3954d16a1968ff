--- Processes, clocks, files and sockets for the specs, straight from the C library.
-- Calls fail with an error unless their documentation says otherwise. Times are seconds on CLOCK_MONOTONIC.

local ffi = require("ffi")
local bit = require("bit")

ffi.cdef([[
typedef int pid_t;
struct e2e_timespec { long tv_sec, tv_nsec; };
struct e2e_pollfd { int fd; short events, revents; };
struct e2e_sockaddr_in { uint16_t family, port; uint32_t addr; char zero[8]; };
struct e2e_sockaddr_un { uint16_t family; char path[108]; };
pid_t fork(void);
pid_t getpid(void);
pid_t setsid(void);
unsigned geteuid(void);
int execvp(const char *, const char *const *);
int setenv(const char *, const char *, int);
int unsetenv(const char *);
int chdir(const char *);
int open(const char *, int, ...);
int dup2(int, int);
int close(int);
void _exit(int);
int kill(pid_t, int);
pid_t waitpid(pid_t, int *, int);
int clock_gettime(int, struct e2e_timespec *);
int poll(struct e2e_pollfd *, unsigned long, int);
int socket(int, int, int);
int connect(int, const void *, unsigned);
int getsockopt(int, int, int, void *, unsigned *);
long send(int, const void *, size_t, int);
long recv(int, void *, size_t, int);
int inet_pton(int, const char *, void *);
uint16_t htons(uint16_t);
char *strerror(int);
char *mkdtemp(char *);
char *realpath(const char *, char *);
]])

local C = ffi.C
local M = {}

local O_RDONLY, O_WRONLY, O_CREAT, O_APPEND, O_CLOEXEC = 0, 1, 0x40, 0x400, 0x80000
local EINTR, EAGAIN, EINPROGRESS = 4, 11, 115
local POLLIN, POLLOUT = 1, 4
local SOCK_STREAM_NONBLOCK_CLOEXEC = bit.bor(1, 0x800, O_CLOEXEC)

M.SIGNALS = { HUP = 1, INT = 2, KILL = 9, USR1 = 10, USR2 = 12, TERM = 15, CONT = 18, STOP = 19 }

local function why()
  return ffi.string(C.strerror(ffi.errno()))
end

function M.now()
  local t = ffi.new("struct e2e_timespec")
  C.clock_gettime(1, t)
  return tonumber(t.tv_sec) + tonumber(t.tv_nsec) / 1e9
end

function M.sleep(seconds)
  local deadline = M.now() + seconds
  while true do
    local left = deadline - M.now()
    if left <= 0 then
      return
    end
    C.poll(nil, 0, math.ceil(left * 1000))
  end
end

function M.pid()
  return C.getpid()
end

function M.is_root()
  return C.geteuid() == 0
end

-- ---- files ----

--- The file's bytes, or nil when it cannot be read.
function M.read_file(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- Replaces the file in one step, as `kubectl` mounts and careful editors do.
function M.write_file(path, text)
  local temporary = path .. ".new"
  local file = assert(io.open(temporary, "wb"))
  assert(file:write(text))
  assert(file:close())
  assert(os.rename(temporary, path))
end

function M.is_file(path)
  local file = io.open(path, "rb")
  if file then
    file:close()
  end
  return file ~= nil
end

function M.make_temporary_directory(prefix)
  local template = prefix .. "XXXXXX"
  local buffer = ffi.new("char[?]", #template + 1, template)
  if C.mkdtemp(buffer) == nil then
    error("mkdtemp " .. template .. ": " .. why())
  end
  return ffi.string(buffer)
end

--- The absolute path without symbolic links, or nil.
function M.real_path(path)
  local buffer = ffi.new("char[4096]")
  local result = C.realpath(path, buffer)
  return result ~= nil and ffi.string(result) or nil
end

local function shell_quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Runs a command line of words to its end, which must come within three minutes. Returns its output (stdout and
-- stderr) and its exit code.
function M.run(argv)
  local words = { "timeout", "-k", "5", "180" }
  for i, word in ipairs(argv) do
    words[4 + i] = shell_quote(word)
  end
  local line = "{ " .. table.concat(words, " ") .. "; } 2>&1 </dev/null; code=$?; echo; echo $code"
  local pipe = assert(io.popen(line, "r"))
  local text = pipe:read("*a")
  pipe:close()
  local output, code = text:match("^(.*)\n(%d+)\n$")
  return output, tonumber(code)
end

-- ---- processes ----

local Process = {}
Process.__index = Process

local function c_words(words)
  local array = ffi.new("const char *[?]", #words + 1)
  for i, word in ipairs(words) do
    array[i - 1] = word
  end
  array[#words] = nil
  return array
end

--- Replaces this program. Returns only when that fails.
function M.exec(argv)
  C.execvp(argv[1], c_words(argv))
  error("exec " .. argv[1] .. ": " .. why())
end

--- Starts a program.
---@param options table argv; name (for messages); output (file for stdout and stderr, appended to); directory; env
--- (name → value, false unsets)
function M.spawn(options)
  local argv = c_words(options.argv)
  local output = options.output or "/dev/null"
  io.stdout:flush()
  local pid = C.fork()
  if pid < 0 then
    error("fork: " .. why())
  end
  if pid == 0 then
    C.setsid()
    C.dup2(C.open("/dev/null", O_RDONLY), 0)
    local fd = C.open(output, bit.bor(O_WRONLY, O_CREAT, O_APPEND), ffi.cast("int", 420))
    C.dup2(fd, 1)
    C.dup2(fd, 2)
    for i = 3, 255 do
      C.close(i)
    end
    for name, value in pairs(options.env or {}) do
      if value then
        C.setenv(name, tostring(value), 1)
      else
        C.unsetenv(name)
      end
    end
    if options.directory == nil or C.chdir(options.directory) == 0 then
      C.execvp(options.argv[1], argv)
    end
    local message = "cannot start " .. options.argv[1] .. ": " .. why() .. "\n"
    io.stderr:write(message)
    io.stderr:flush()
    C._exit(127)
  end
  return setmetatable({ pid = pid, name = options.name or options.argv[1], output = output }, Process)
end

--- Collects the process if it has ended. Then `self.status` is "exit N" or "signal N".
function Process:is_running()
  if self.status then
    return false
  end
  local status = ffi.new("int[1]")
  local pid = C.waitpid(self.pid, status, 1)
  if pid == 0 then
    return true
  end
  local code = status[0]
  if pid < 0 then
    self.status = "gone"
  elseif bit.band(code, 0x7f) == 0 then
    self.status = "exit " .. bit.band(bit.rshift(code, 8), 0xff)
  else
    self.status = "signal " .. bit.band(code, 0x7f)
  end
  return false
end

---@param name string "TERM", "KILL", …
function Process:signal(name)
  if self:is_running() then
    C.kill(self.pid, (assert(M.SIGNALS[name], name)))
  end
end

--- Its end within `seconds`: returns the status, or nil when it still runs.
function Process:wait(seconds)
  local deadline = M.now() + seconds
  while self:is_running() do
    if M.now() >= deadline then
      return nil
    end
    M.sleep(0.005)
  end
  return self.status
end

--- SIGTERM, and SIGKILL when that does not end it in time. Returns the status.
function Process:stop(seconds)
  self:signal("CONT")
  self:signal("TERM")
  local status = self:wait(seconds or 10)
  if not status then
    self:signal("KILL")
    self:wait(10)
  end
  return status or "killed after SIGTERM was ignored"
end

function Process:log()
  return M.read_file(self.output) or ""
end

--- Sends a signal to a process that this program did not start.
function M.kill(pid, name)
  return C.kill(pid, (assert(M.SIGNALS[name], name))) == 0
end

function M.is_alive(pid)
  local state = (M.read_file("/proc/" .. pid .. "/stat") or ""):match("^%d+ %b() (%a)")
  return state ~= nil and state ~= "Z" and state ~= "X"
end

--- Ids of the processes whose parent is `pid`.
function M.children(pid)
  local found = {}
  for child in (M.read_file(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch("%d+") do
    found[#found + 1] = tonumber(child)
  end
  return found
end

-- ---- sockets ----

local Socket = {}
Socket.__index = Socket

local function await(fd, events, deadline)
  local item = ffi.new("struct e2e_pollfd[1]")
  item[0].fd, item[0].events = fd, events
  while true do
    local left = deadline - M.now()
    if left <= 0 then
      return false
    end
    local n = C.poll(item, 1, math.ceil(left * 1000))
    if n > 0 then
      return true
    end
    if n < 0 and ffi.errno() ~= EINTR then
      error("poll: " .. why())
    end
  end
end

--- A stream connection. Returns nil and the reason when there is none by the deadline.
---@param address string an absolute path (Unix socket) or an IPv4 address
---@param port number|nil
---@param deadline number
function M.connect(address, port, deadline)
  local name, size
  if address:sub(1, 1) == "/" then
    name = ffi.new("struct e2e_sockaddr_un")
    name.family = 1
    ffi.copy(name.path, address)
    size = ffi.sizeof(name)
  else
    name = ffi.new("struct e2e_sockaddr_in")
    name.family, name.port = 2, C.htons(port)
    local addr = ffi.new("uint32_t[1]")
    if C.inet_pton(2, address, addr) ~= 1 then
      error("not an IPv4 address: " .. address)
    end
    name.addr = addr[0]
    size = ffi.sizeof(name)
  end
  local fd = C.socket(name.family, SOCK_STREAM_NONBLOCK_CLOEXEC, 0)
  if fd < 0 then
    error("socket: " .. why())
  end
  if C.connect(fd, name, size) < 0 then
    local code = ffi.errno()
    local text = why()
    if code == EINPROGRESS then
      local result, length = ffi.new("int[1]"), ffi.new("unsigned[1]", 4)
      if not await(fd, POLLOUT, deadline) then
        code, text = 1, "connect timed out"
      else
        C.getsockopt(fd, 1, 4, result, length)
        code, text = result[0], ffi.string(C.strerror(result[0]))
      end
    end
    if code ~= 0 then
      C.close(fd)
      return nil, text
    end
  end
  return setmetatable({ fd = fd, pending = "" }, Socket)
end

function Socket:close()
  if self.fd then
    C.close(self.fd)
    self.fd = nil
  end
end

--- Returns true, or nil and the reason.
function Socket:send(text, deadline)
  local sent = 0
  while sent < #text do
    local n = tonumber(C.send(self.fd, ffi.cast("const char *", text) + sent, #text - sent, 0x4000))
    if n > 0 then
      sent = sent + n
    elseif ffi.errno() ~= EAGAIN then
      return nil, why()
    elseif not await(self.fd, POLLOUT, deadline) then
      return nil, "send timed out"
    end
  end
  return true
end

local buffer = ffi.new("char[65536]")

--- What has arrived: a string, "" at the end of the stream, or nil and the reason.
function Socket:receive(deadline)
  while true do
    local n = tonumber(C.recv(self.fd, buffer, 65536, 0))
    if n >= 0 then
      return ffi.string(buffer, n)
    end
    if ffi.errno() ~= EAGAIN then
      return nil, why()
    end
    if not await(self.fd, POLLIN, deadline) then
      return nil, "receive timed out"
    end
  end
end

--- Everything until the peer closes or `is_whole(so far)` is true, or nil and the reason.
function Socket:receive_all(deadline, is_whole)
  local parts = {}
  while true do
    local part, reason = self:receive(deadline)
    if not part then
      return nil, reason
    end
    if part == "" then
      return table.concat(parts)
    end
    parts[#parts + 1] = part
    -- Long answers are put together only now and then.
    if is_whole and (#part < 65536 or #parts % 16 == 0) then
      parts = { table.concat(parts) }
      if is_whole(parts[1]) then
        return parts[1]
      end
    end
  end
end

--- The lines that a shell command prints.
function M.lines_of(command)
  local pipe, list = assert(io.popen(command)), {}
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

return M
