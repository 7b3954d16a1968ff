--- docs/agent-api.md against real answers of an agent: every field with its type, every result word with its status.

local cjson = require("cjson")
local e2e = require("support.e2e")
local kube = require("support.kube")
local offers = require("support.offer")
local posix = require("support.posix")

local PAGE = posix.read_file("docs/agent-api.md")

--- The rows of the table whose heading begins with these cells: each a list of cells, without backticks.
local function table_of(heading)
  local rows, inside = {}, false
  for line in PAGE:gmatch("([^\n]*)\n") do
    if line:find("| " .. heading, 1, true) == 1 then
      inside = true
    elseif inside and line:find("^|") and not line:find("^| %-%-%-") then
      local cells = {}
      for cell in line:gmatch("| ([^|]*) ") do cells[#cells + 1] = (cell:gsub("`", "")) end
      rows[#rows + 1] = cells
    elseif not line:find("^|") then
      inside = false
    end
  end
  assert(#rows > 0, heading)
  return rows
end

local function fields_of(...)
  local fields = {}
  for _, heading in ipairs({ ... }) do
    for _, row in ipairs(table_of(heading)) do fields[row[1]] = row[2] end
  end
  return fields
end

local function types_of(document)
  local types = {}
  for name, value in pairs(document) do
    local kind = type(value)
    if kind == "table" then
      kind = (#value > 0 or name == "orders" or name == "encodings") and ("list of " .. type(value[1]) .. "s") or "object"
      if name == "orders" then kind = "list of objects" end
    end
    types[name] = kind
  end
  return types
end

local EVERY, STATE, RESULT, REFUSAL = "field of every answer |", "field of the state |", "field of a result |", "field of a refusal |"

--- Result words with their status, as the page lists them: "409 stale".
local function listed_words()
  local words = {}
  for _, heading in ipairs({ "status | `result` | when |", "status | `result` | when | what" }) do
    for _, row in ipairs(table_of(heading)) do words[row[1] .. " " .. row[2]] = true end
  end
  return words
end

describe("docs/agent-api.md", function()
  local scope, manifests, identity, member, first

  setup(function()
    e2e.backends()
    scope = e2e.scope("agent-api")
    manifests = scope:manifests()
    identity = scope:fleet_identity()
    manifests:write("class.yaml", kube.ingress_class())
    manifests:write("route.yaml", kube.route("one", "one.example", { "198.18.1.1" }))
    member = scope:member({ name = "member", identity = identity, series = "3.4" })
    first = { state = member:state(), bundle = { member:call("/v1/bundle") }, health = { member:call("/health") } }
  end)
  teardown(function() scope:close() end)

  local function call(path, ...)
    local _, status, body = member:call(path, ...)
    return status, body
  end

  --- Has the fields of the page: all of them, but those that are named.
  local function check(document, fields, but)
    for _, name in ipairs(but or {}) do
      if document[name] == nil then fields[name] = nil end
    end
    assert.same(fields, types_of(document))
  end

  it("has each result word of the program with its status, and no other", function()
    local program = {}
    for _, line in ipairs(posix.lines_of([[cat core/member/member.c core/member/member_told.c]])) do
      local status, word = line:match('[^%w]refuse%(m, (%d+), "([%w_]+)"')
      if not status then status, word = line:match('answer_problem%(m, (%d+), "([%w_]+)"') end
      if status then program[status .. " " .. word] = true end
    end
    -- Written with an operator, or by their own function.
    program["409 unknown_baseline"], program["422 invalid"], program["409 stale"] = true, true, true
    program["200 applied"], program["200 waits"] = true, true
    assert.same(program, listed_words())
  end)

  it("has each path and each metric of its own", function()
    local calls = {}
    for _, row in ipairs(table_of("call | body of the request")) do calls[row[1]] = true end
    local program = {}
    for _, line in ipairs(posix.lines_of("cat core/cmd/agent.c")) do
      local method, path = line:match('api_server_route%(b%->api, "(%u+)", "([^"]+)"')
      if method then program[method .. " " .. path] = true end
    end
    assert.same(program, calls)
    local _, metrics = member:status("/metrics")
    for name in metrics:gmatch("# TYPE (haptic_agent_%S+)") do
      assert.truthy(PAGE:find("`" .. name .. "`", 1, true), name)
    end
  end)

  it("describes the state before a configuration came", function()
    local state = first.state
    assert.equal("state", state.result)
    check(state, fields_of(EVERY, STATE))
    check(state.haproxy, fields_of("field of `haproxy` |"))
    assert.same({ "", 0, 0, false, false }, { state.digest, state.transitions, state.generation, state.ready, state.configured })
    assert.same({ 404, 503 }, { first.bundle[2], first.health[2] })
  end)

  it("describes what the HTTP server refuses by itself", function()
    local listed = {}
    for _, row in ipairs(table_of("status | when |")) do listed[tonumber(row[1])] = true end
    local packed = scope:path("packed")
    posix.write_file(packed, "no gzip")
    local seen = { [503] = true } -- four bodies at a time: http_api_test
    for _, case in ipairs({
      { "/v1/nothing" }, { "/v1/state", "-X", "POST", "-d", "" },
      { "/v1/apply", "-H", "Content-Encoding: gzip", "--data-binary", "@" .. packed },
      { "/v1/apply", "-H", "Content-Encoding: br", "--data-binary", "@" .. packed },
      { "/v1/apply", "-H", "Content-Length: 600000000", "--data-binary", "@" .. packed },
    }) do
      local status, body = call(unpack(case))
      seen[status] = true
      assert.same({ result = "string", message = "string" }, types_of(cjson.decode(body)))
      assert.equal("invalid", cjson.decode(body).result)
    end
    assert.same(listed, seen)
  end)

  it("describes results and refusals", function()
    local h = scope:haptic({
      name = "controller", source = manifests.path, series = "3.4",
      config = e2e.config({ templateSnippets = { ["frontend-http-100-member"] = { template = 'bind "${HAPTIC_DIR}/http.sock" mode 600\n' } } }),
      args = { "--haproxy", "fleet", "--members", member.url, "--fleet-ca", identity.authority.crt, "--fleet-cert",
        identity.controller_crt, "--fleet-key", identity.controller_key },
    })
    h.supervises = false
    h:wait_ready()
    member:wait_answer("one.example", "198.18.1.1:8001")
    h:stop()
    local path = scope:path("bundle")
    assert.equal(200, (call("/v1/bundle", "-o", path)))
    local bundle = posix.read_file(path)
    local state = member:state()
    check(state, fields_of(EVERY, STATE))
    assert.same({ "live", true, true, false, "", "" },
      { state.state, state.ready, state.configured, state.is_open, state.problem, state.refused })
    assert.same({ 200, "ok\n" }, { call("/health") })

    local seen, listed = {}, listed_words()
    local function offered(bytes, nonce)
      local status, answer = member:offer(bytes, nonce)
      local word = status .. " " .. answer.result
      assert.is_true(listed[word], word)
      seen[word] = true
      if status == 200 then
        check(answer, fields_of(EVERY, RESULT), { "proof" })
      else
        check(answer, fields_of(EVERY, REFUSAL),
          answer.result ~= "stale" and { "highest_transitions", "highest_generation", "highest_holder" })
      end
      return word, answer
    end
    local function writer(generation, from)
      return { transitions = 7, generation = generation, holder = "spec", from = from }
    end
    assert.equal("200 applied", (offered(offers.of(bundle, writer(1)))))
    assert.equal("409 stale", (offered(bundle)))
    local _, stale = offered(bundle)
    assert.same({ 7, 1, "spec" }, { stale.highest_transitions, stale.highest_generation, stale.highest_holder })
    assert.equal("409 replayed", (offered(offers.of(bundle, writer(2)), ("0"):rep(32))))
    assert.equal("409 unknown_baseline", (offered(offers.of(bundle, writer(2, ("0"):rep(32))))))
    assert.equal("400 invalid", (offered("no offer")))
    local digest = offers.digest(bundle)
    local wrong = digest:gsub("^.", function(c) return c == "0" and "1" or "0" end)
    assert.equal("422 invalid", (offered((offers.of(bundle, writer(2)):gsub(digest, wrong)))))
    -- The same length, so that no frame has to be written again: a directive that HAProxy does not know.
    local renamed, count = bundle:gsub("mode http", "mude http", 1)
    assert.equal(1, count)
    local _, mismatch = offered(offers.of(renamed, writer(2)))
    local right = mismatch.message:match("%x+", (mismatch.message:find("%f[%x]" .. ("%x"):rep(32))))
    assert.equal(32, right and #right, mismatch.message)
    assert.equal("422 refused", (offered((offers.of(renamed, writer(2)):gsub(digest, right)))))
    assert.matches("mude", member:state().refused)

    -- The others: member and fleet specs (waits, busy, not_live, stopping need an agent in trouble).
    assert.same({ ["200 applied"] = true, ["400 invalid"] = true, ["409 replayed"] = true, ["409 stale"] = true,
      ["409 unknown_baseline"] = true, ["422 invalid"] = true, ["422 refused"] = true }, seen)

    local status, body = call("/v1/verify", "-X", "POST", "-d", "")
    assert.equal(200, status)
    check(cjson.decode(body), fields_of(EVERY, RESULT), { "proof" })
    status, body = call("/v1/verify", "--data-binary", "no question")
    assert.same({ 400, "invalid" }, { status, cjson.decode(body).result })
  end)
end)
