--- The debug page in a real browser: what it shows while things change, light and dark, by keyboard alone.
--
-- PAGE_PICTURES=DIR keeps screenshots there.

local e2e = require("support.e2e")
local http = require("support.http")
local json = require("cjson")
local kube = require("support.kube")
local posix = require("support.posix")

local SECRET = "planted-on-the-page-0001"

local function has(program)
  return select(2, posix.run({ "sh", "-c", "command -v " .. program .. " >/dev/null" })) == 0
end

if not (has("chromium") and has("chromedriver")) then
  print("left out: the debug page in a browser, as chromium and chromedriver are not installed (tools/setup test)")
  return
end

describe("the debug page", function()
  local scope, source, haptic, driver, port, session

  --- A command of the WebDriver protocol: its value.
  local function web(method, path, data)
    local status, answer = http.json({ port = port, method = method, path = path, timeout = 30 }, data)
    assert.equal(200, status, json.encode(answer))
    return answer.value
  end

  local function page(method, path, data) return web(method, "/session/" .. session .. path, data) end

  local function run(script)
    return page("POST", "/execute/sync", { script = script, args = http.EMPTY_LIST })
  end

  local function text(selector)
    return run(("return document.querySelector(%q).innerText"):format(selector))
  end

  local function wait_text(selector, pattern)
    scope:wait_for(selector .. " to say " .. pattern, 20, function()
      local now = text(selector)
      return now:find(pattern) ~= nil, now
    end)
  end

  local function media(scheme)
    page("POST", "/goog/cdp/execute", { cmd = "Emulation.setEmulatedMedia",
      params = { features = { { name = "prefers-color-scheme", value = scheme } } } })
  end

  local function picture(name)
    local place = os.getenv("PAGE_PICTURES")
    if not place then return end
    local encoded = scope:path("picture")
    posix.write_file(encoded, page("GET", "/screenshot"))
    posix.run({ "sh", "-c", ("base64 -d %s >%s/%s.png"):format(encoded, place, name) })
  end

  --- Keys as a person presses them.
  local function press(...)
    local actions = {}
    for _, key in ipairs({ ... }) do
      actions[#actions + 1] = { type = "keyDown", value = key }
      actions[#actions + 1] = { type = "keyUp", value = key }
    end
    page("POST", "/actions", { actions = { { type = "key", id = "keyboard", actions = actions } } })
  end

  local TAB, ENTER = "\238\128\132", "\238\128\135"

  setup(function()
    e2e.backends()
    scope = e2e.scope("page")
    source = scope:manifests()
    source:write("class.yaml", kube.ingress_class())
    source:write("shop.yaml", kube.route("shop", "shop.example", { "198.18.0.1" }))
    source:write("secret.yaml", { kind = "Secret", apiVersion = "v1", metadata = { name = "s", namespace = "default" },
      stringData = { password = SECRET } })
    haptic = scope:haptic({ source = source.path, config = e2e.config({
      watchedResources = { secrets = { apiVersion = "v1", resources = "secrets" } },
      -- A name that nobody has: the page shows the URL and why there is no content.
      templatingSettings = { httpFetch = { allow = { { url = "https://lists.invalid/" } } } },
      templateSnippets = { ["s.lua"] = { template = 'each(resources.secrets, "s", function(s, out)\n'
        .. '  out:section("userlist u", function(b) b:line("user", "a", "insecure-password", s.data.password) end)\nend)\n'
        .. 'each(resources.ingresses, "f", function(ing)\n'
        .. '  if ing.metadata.name == "listed" then http:fetch("https://lists.invalid/blocked") end\nend)\n' } },
    }) }):wait_ready()
    port = e2e.port()
    driver = scope:add(posix.spawn({ name = "chromedriver", argv = { "chromedriver", "--port=" .. port },
      env = { HOME = scope.directory }, output = scope:path("chromedriver.log") }))
    driver.close = function(self) self:stop(10) end
    scope:wait_for("chromedriver", 20, function()
      local answer = http.request({ port = port, path = "/status" })
      return answer ~= nil and answer.status == 200
    end)
    session = web("POST", "/session", { capabilities = { alwaysMatch = { ["goog:loggingPrefs"] = { browser = "ALL" },
      ["goog:chromeOptions"] = { args = { "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1400,1500" } } } } }).sessionId
    page("POST", "/url", { url = ("http://127.0.0.1:%d/debug/page"):format(haptic.debug_port) })
  end)
  teardown(function()
    if session then web("DELETE", "/session/" .. session) end
    scope:close()
  end)

  it("shows the pipeline and follows it", function()
    wait_text("#verdict", "^Ready$")
    wait_text("#stage-watch", "in sync")
    wait_text("#stage-haproxy", "running")
    wait_text("#generations", "start")
    wait_text("#generations", "accepted")
    wait_text("#kinds", "ingresses")
    wait_text("#fragments", "ingress%.lua:routes")
    assert.equal("none", text("#problems"))
    assert.equal("none", text("#fetched"))
    assert.equal("there is none", text("#webhook"))
    assert.matches("^one HAProxy", text("#members"))
    media("light")
    picture("light")
    -- A change is seen without a key being pressed.
    source:write("more.yaml", kube.route("more", "more.example", { "198.18.0.2" }))
    wait_text("#generations", "more")
    source:write("listed.yaml", kube.ingress({ name = "listed", host = "listed.example", service = "shop" }))
    wait_text("#fetched", "https://lists%.invalid/blocked%s.*%a")
    -- What HAProxy refuses is named.
    source:write("bad.yaml", kube.ingress({ name = "bad", host = "bad.example", service = "shop",
      annotations = { ["haproxy.org/timeout-server"] = "no time" } }))
    wait_text("#problems", "bad")
    wait_text("#events", "bad")
  end)

  it("is readable in light and in dark", function()
    local function contrasts()
      return run([[
        const parse = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number);
        const light = (c) => { const [r, g, b] = parse(c).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        let worst = 99, what = "";
        for (const e of document.querySelectorAll("h1, h2, p, td, th, a, button, label, #age")) {
          if (!e.innerText || e.className === "skip") continue;
          let ground = e;
          while (ground && getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
          const a = light(getComputedStyle(e).color), b = light(getComputedStyle(ground || document.body).backgroundColor);
          const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (c < worst) { worst = c; what = e.tagName + " " + e.className + " " + e.innerText.slice(0, 30); }
        }
        return { worst, what, ground: getComputedStyle(document.body).backgroundColor };]])
    end
    local grounds = {}
    for _, scheme in ipairs({ "light", "dark" }) do
      media(scheme)
      local found = contrasts()
      assert.is_true(found.worst >= 4.5, ("%s: %.2f: %s"):format(scheme, found.worst, found.what))
      grounds[scheme] = found.ground
      picture(scheme == "dark" and "dark" or "light-problem")
    end
    assert.are_not.equal(grounds.light, grounds.dark)
    assert.is_true(run("return document.documentElement.scrollWidth <= window.innerWidth"))
  end)

  it("is used by keyboard alone", function()
    run("document.activeElement.blur(); window.scrollTo(0, 0)")
    press(TAB)
    assert.equal("#main", run("return document.activeElement.getAttribute('href')"))
    press(TAB, ENTER)
    assert.equal("true", run("return document.getElementById('pause').getAttribute('aria-pressed')"))
    wait_text("#age", "paused")
    press(ENTER)
    assert.equal("false", run("return document.getElementById('pause').getAttribute('aria-pressed')"))
    -- On to the form, past each table, which scrolls by keys; and ask it.
    local tables = {}
    scope:wait_for("the form to have the focus", 20, function()
      press(TAB)
      tables[#tables + 1] = run("return document.activeElement.getAttribute('aria-labelledby') || document.activeElement.id")
      return run("return document.activeElement.id") == "route-host", run("return document.activeElement.outerHTML")
    end)
    assert.equal("h-problems h-generations h-kinds h-webhook h-fetched h-members h-events h-fragments route-host", table.concat(tables, " "))
    assert.are_not.equal("none", run("return getComputedStyle(document.activeElement).outlineStyle"))
    for letter in ("shop.example"):gmatch(".") do press(letter) end
    press(ENTER)
    wait_text("#route", "default_shop_80")
    wait_text("#route", "198%.18%.0%.1")
  end)

  it("runs nothing but its own script, and has no byte of a Secret", function()
    for _, entry in ipairs(page("POST", "/se/log", { type = "browser" })) do
      assert.is_nil(entry.message:find("Content Security Policy", 1, true), entry.message)
      assert.are_not.equal("SEVERE", entry.level, entry.message)
    end
    local answer = assert(haptic:get("/debug/page"))
    assert.matches("default%-src 'none'; script%-src 'self'", answer.headers["content-security-policy"])
    assert.is_nil(answer.body:find("http", 1, true))
    -- A script that somebody puts into the page does not run.
    assert.equal("undefined", run([[const s = document.createElement("script"); s.textContent = "window.intruder = 1";
      document.body.append(s); return typeof window.intruder;]]))
    local all = {}
    for _, path in ipairs({ "/debug/page", "/debug/state", "/debug/settings", "/debug/generations", "/debug/events",
      "/debug/fragments", "/debug/dump", "/debug/config", "/debug/config?origin=1" }) do
      local one = assert(haptic:get(path))
      assert.equal(200, one.status, path)
      all[#all + 1] = one.body
    end
    assert.is_truthy(table.concat(all):find("HapticSecret", 1, true))
    assert.is_nil(table.concat(all):find(SECRET, 1, true))
    assert.equal(421, http.request({ port = haptic.debug_port, path = "/debug/page", host = "evil.example" }).status)
  end)

  it("shows what the admission webhook has judged", function()
    local certificate, webhook = scope:certificate({ names = { "localhost" } }), e2e.port()
    posix.run({ "cp", certificate.directory .. "/cert.pem", certificate.directory .. "/tls.crt" })
    posix.run({ "cp", certificate.directory .. "/key.pem", certificate.directory .. "/tls.key" })
    local judge = scope:haptic({ name = "judge", source = source.path, config = e2e.config({
      templateSnippets = { ["j.lua"] = { template = 'each(resources.ingresses, "j", function(ing)\n'
        .. '  if ing.metadata.name:find("^refused") then error("a refused name", 0) end\nend)\n' } },
    }), args = { "--webhook-address", "127.0.0.1", "--webhook-port", tostring(webhook), "--webhook-cert-dir", certificate.directory } })
    judge:wait_ready()
    local function review(name)
      local ingress = kube.ingress({ name = name, host = name .. ".example", service = "shop" })
      local body = scope:path("review")
      posix.write_file(body, http.encode({ apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", request = {
        uid = name, operation = "CREATE", name = name, namespace = "default",
        kind = { group = "networking.k8s.io", version = "v1", kind = "Ingress" },
        resource = { group = "networking.k8s.io", version = "v1", resource = "ingresses" }, object = ingress } }))
      return (posix.run({ "curl", "-sSk", "-m", "20", "-H", "Content-Type: application/json", "--data-binary", "@" .. body,
        ("https://127.0.0.1:%d/validate"):format(webhook) }))
    end
    scope:wait_for("the webhook to judge", 30, function()
      local answer = review("refused-one")
      return answer:find("a refused name", 1, true) ~= nil, answer
    end)
    assert.matches('"allowed":true', review("allowed-one"))
    page("POST", "/url", { url = ("http://127.0.0.1:%d/debug/page"):format(judge.debug_port) })
    -- The columns: what is judged, state, four numbers (waiting, allowed, denied, not judged), the last refusal.
    wait_text("#webhook", "^objects%s+%a+%s+0%s+1%s+%d+%s+0%s+ingresses default/refused%-one: HT0202: j%.lua:2: a refused name")
    picture("webhook")
  end)
end)
