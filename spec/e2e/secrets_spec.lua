--- Secrets: their values reach HAProxy, and nothing else.

local e2e = require("support.e2e")
local http = require("support.http")
local memory = require("support.memory")
local posix = require("support.posix")

--- One user list and one page for each Secret with the label; the first of them guards everything.
local TEMPLATE = [[
each(resources.secrets, "users", function(secret, out)
  if (secret.metadata.labels or {}).use ~= "users" then return end
  local name = secret.metadata.namespace .. "_" .. secret.metadata.name
  local data = secret.data
  out:section("userlist " .. name, function(b)
    b:comment("the password is " .. b64decode(data.password))
    b:line("user", "ada", "insecure-password", data.password)
  end)
  out:file(name .. ".txt", "page: " .. data.page .. "\n")
  out:map_entry("keys.map", data.key, "tenant-" .. secret.metadata.name)
  out:map_entry("notes.map", name, data.password)
end)

section("frontend http", { name = "secrets", order = 450 }, function(b)
  b:line("http-request", "auth", "unless", "{", "path", "/open", "}", "or", "{", "http_auth(shop_users)", "}")
  b:line("http-request", "return", "status", "200", "content-type", "text/plain", "lf-string",
    "%[req.hdr(x-key),map(" .. path:map("keys.map") .. ",nobody)]", "if", "{", "path", "/tenant", "}")
  b:line("http-request", "return", "status", "200", "content-type", "text/plain", "lf-string",
    "%[str(shop_users),map(" .. path:map("notes.map") .. ",none)]", "if", "{", "path", "/note", "}")
  b:line("http-request", "return", "status", "200", "content-type", "text/plain", "file",
    path:file("shop_users.txt"))
end)
]]

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  return (text:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    local digits = ""
    for shift = 3, 0, -1 do
      local at = math.floor(n / 64 ^ shift) % 64 + 1
      digits = digits .. ALPHABET:sub(at, at)
    end
    return digits:sub(1, #group + 1) .. ("="):rep(3 - #group)
  end))
end

describe("Secrets", function()
  local scope, source, haptic

  before_each(function()
    scope = e2e.scope("secrets")
    source = scope:manifests()
  end)

  after_each(function()
    scope:close()
  end)

  local function write(name, values, encoded)
    local data = {}
    for key, value in pairs(values) do
      data[key] = encoded and base64(value) or value
    end
    source:write(name .. ".yaml", {
      apiVersion = "v1", kind = "Secret", [encoded and "data" or "stringData"] = data,
      metadata = { namespace = "shop", name = name, labels = { use = "users" } },
    })
  end

  local function start()
    haptic = scope:haptic({
      source = source.path,
      config = e2e.config({
        logging = { level = "TRACE" },
        templatingSettings = { libraries = { "base" } },
        watchedResources = {
          secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.namespace", "metadata.name" } },
        },
        templateSnippets = { ["secrets.lua"] = { template = TEMPLATE } },
      }),
    })
    haptic:wait_ready()
  end

  local function ask(path, password, key)
    local answer = http.request({
      port = haptic.http_port, path = path,
      headers = { Authorization = password and "Basic " .. base64("ada:" .. password), ["X-Key"] = key },
    })
    return answer and answer.status, answer and answer.body
  end

  local function wait_answer(path, password, status, body, key)
    scope:wait_for("the answer to " .. path, 10, function()
      local got, text = ask(path, password, key)
      return got == status and (not body or text == body), tostring(got) .. " " .. tostring(text)
    end)
  end

  --- Where nobody may find the bytes; finding them at HAProxy proves the search.
  local function assert_hidden(...)
    local places = {
      log = haptic:log(), config = haptic:get("/debug/config").body, state = haptic:get("/debug/state").body,
      metrics = haptic:get("/metrics").body,
    }
    local handle = places.config:match("HapticSecret%x+End")
    assert.truthy(handle)
    local directory = posix.run({ "sh", "-c", "cat " .. haptic.directory .. "/haproxy.cfg " .. haptic.directory
      .. "/files/* " .. haptic.directory .. "/maps/*" })
    local renderer = assert(haptic:renderer_pid())
    for _, bytes in ipairs({ ... }) do
      assert.truthy(directory:find(bytes, 1, true), "not even HAProxy has " .. bytes)
      for place, text in pairs(places) do
        assert.truthy(#text > 0)
        assert.falsy(text:find(bytes, 1, true), place .. " has the value of a Secret")
        assert.falsy(text:find(base64(bytes), 1, true), place .. " has the value of a Secret, encoded")
      end
      local found, seen = memory.has(renderer, bytes)
      assert.truthy(seen > 2 ^ 20)
      assert.falsy(found, "the renderer's memory has the value of a Secret")
      assert.truthy(memory.has(haptic.pid, bytes))
    end
    assert.truthy(memory.has(renderer, handle))
  end

  it("reach HAProxy as words, files, keys and values of maps, and nobody else", function()
    write("users", { password = "correct-horse-9151", page = "battery-staple-7\n", key = "key-of-tenant-4242" }, true)
    start()
    wait_answer("/", nil, 401)
    wait_answer("/", "wrong", 401)
    wait_answer("/", "correct-horse-9151", 200, "page: battery-staple-7\n\n")
    wait_answer("/tenant", "correct-horse-9151", 200, "tenant-users", "key-of-tenant-4242")
    wait_answer("/tenant", "correct-horse-9151", 200, "nobody", "other")
    wait_answer("/note", "correct-horse-9151", 200, "correct-horse-9151")
    assert_hidden("correct-horse-9151", "battery-staple-7", "key-of-tenant-4242")
  end)

  it("that change are followed; an old value is not good any more", function()
    write("users", { password = "first-password-1", page = "one", key = "key-1" })
    start()
    wait_answer("/", "first-password-1", 200, "page: one\n")
    write("users", { password = "second-password-2", page = "two", key = "key-2" })
    wait_answer("/", "second-password-2", 200, "page: two\n")
    assert.equal(401, (ask("/", "first-password-1")))
    wait_answer("/tenant", "second-password-2", 200, "nobody", "key-1")
    wait_answer("/tenant", "second-password-2", 200, "tenant-users", "key-2")
    assert_hidden("second-password-2")
    -- A rewritten file with the same values gives HAProxy nothing to do.
    local before = haptic:state().haproxy
    write("users", { password = "second-password-2", page = "two", key = "key-2" }, true)
    posix.sleep(0.7)
    local after = haptic:state().haproxy
    assert.same({ before.reloads, before.operations }, { after.reloads, after.operations })
  end)

  it("may have any bytes that a line can have", function()
    local hostile = "p'a\"s\\s # $HOME ${HOME} %[x] \\' ;{}\t\xc3\xa9"
    write("users", { password = hostile, page = "\r\n'\"\\ #\n", key = "k'\"\\#" }, true)
    start()
    wait_answer("/", hostile, 200, "page: \r\n'\"\\ #\n\n")
    wait_answer("/note", hostile, 200, hostile)
    wait_answer("/tenant", hostile, 200, "tenant-users", "k'\"\\#")
  end)

  it("that cannot be used put their own object into quarantine, and nothing else", function()
    write("users", { password = "good-password-1", page = "one", key = "key-1" })
    start()
    wait_answer("/", "good-password-1", 200, "page: one\n")
    write("torn", { password = "torn\npassword-5", page = "x", key = "key-5" })
    haptic:wait_log("Secret shop/torn, key password")
    write("users", { password = "good-password-2", page = "two", key = "key-2" })
    wait_answer("/", "good-password-2", 200, "page: two\n")
    -- The good Secret goes bad: its last good values stay.
    write("users", { password = "bad\npassword-3", page = "three", key = "key-3" })
    haptic:wait_log("Secret shop/users, key password")
    assert.equal(200, (ask("/", "good-password-2")))
    local state = haptic:get("/debug/state").body
    assert.truthy(state:find("Secret shop/users, key password", 1, true))
    assert_hidden("good-password-2")
    assert.falsy(haptic:log():find("password-3", 1, true))
    assert.falsy(state:find("password-3", 1, true))
    write("users", { password = "good-password-4", page = "four", key = "key-4" })
    wait_answer("/", "good-password-4", 200, "page: four\n")
  end)

  it("that HAProxy complains of are told by their handles", function()
    write("users", { password = "good-password-1", page = "one", key = "key-1" })
    start()
    wait_answer("/", "good-password-1", 200, "page: one\n")
    posix.write_file(haptic.config_file, http.encode(e2e.config({
      logging = { level = "TRACE" },
      templatingSettings = { libraries = { "base" } },
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets", indexBy = { "metadata.name" } } },
      templateSnippets = { ["secrets.lua"] = { template = TEMPLATE .. [[
each(resources.secrets, "wrong", function(secret, out)
  out:backend("b", function(b) b:line("retry-on", secret.data.password) end)
end)
]] } },
    })))
    haptic:wait_log("unknown keyword 'HapticSecret%x+End'")
    assert_hidden("good-password-1")
    wait_answer("/", "good-password-1", 200, "page: one\n")
  end)
end)
