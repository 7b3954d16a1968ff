-- Regular expressions of people: which are taken, with how many groups, and which are refused.
local program = require("spec.support.program")

local GOOD = { ["/api/(.*)"] = 1, ["^/a(/|$)(.*)"] = 2, ["^/v[0-9]+/([^/]+)/?$"] = 1, ["/x"] = 0, ["(?:a|b)c"] = 0,
  ["\\d{1,3}\\.\\w+"] = 0, ["https?://(www\\.)?example\\.com"] = 1, ["/[a-z0-9_-]*"] = 0, ["(ab)+"] = 1, ["a{2}"] = 0,
  ["/([^/]*)/([^/]*)/([^/]*)"] = 3, ["^/(.*)/(.*)/(.*)$"] = 3, ["^/([^/]+)/([^/]+)/([^/]+)/([^/]+)/(.*)"] = 5,
  ["^/(.*)/x/(.*)\\.html$"] = 2, ["(.*)"] = 1, ["^/(en|de|fr)/(.*)$"] = 2, ["/v[0-9]+/(.*)"] = 1, ["^/a?b?c?d?e?f?/"] = 0,
  ["^/\\d+-\\w+$"] = 0, ["^https://[a-z0-9.-]+\\.example\\.com$"] = 0,
  ["(one|two)/(three|four)?(/|$)"] = 3, ["^/(a|ab)(c|bc)$"] = 2 }
--- HAProxy 3.4 ended itself by its watchdog while it looked for these in a path of 8000 letters.
local ENDLESS = { "^/a*a*a*\\d", "a*a*\\d", "a*a*a*\\d", "^/" .. ("a?"):rep(40) .. "\\d", "^/" .. ("a{0,100}"):rep(6) .. "\\d",
  "^/" .. ("(?:a|aa)"):rep(40) .. "\\d", "^/" .. ("(?:a|ab?)"):rep(30) .. "\\d", "^/(?:aa)*(?:aaa)*a*\\d", "/(.*)/(.*)\\d",
  "^/(.*)/(.*)/(.*)\\d$", "^/\\w*[^/]*\\S*x", "^/[A-Z]*a*[a-z]*\\d", "^/.*.*(?:.*|b)c", "^(a*a*a*\\d)?/x", "^/a*(?:b?a*)(?:c|)a*\\d" }
local BAD = { "", "^", "(", ")", "a)", "[a", "[z-a]", "[[:alpha:]]", "a**", "*a", "a{101}", "a{3,2}", "a{x}", "(a+)+", "(a|b)*", "((a+)?)*",
  "(?=a)", "(?i)a", "(*ACCEPT)", "\\1", "a\\", "\\q", "a^b", "a$b", ".*.*.*.*x", "a b", "a\tb", "\195\164", ("a"):rep(501), "]", "a}",
  ("("):rep(30) .. ("."):rep(1) .. (")"):rep(30), "(a){2,}(b+)+", "^https://([a-z0-9-]+\\.)*example\\.com$" }

describe("Regular expressions of annotations", function()
  it("are those that HAProxy takes and matches soon", function()
    local list = {}
    for text in pairs(GOOD) do list[#list + 1] = text end
    for _, text in ipairs(BAD) do list[#list + 1] = text end
    for _, text in ipairs(ENDLESS) do list[#list + 1] = text end
    local e = program.engine({ scripts = { { name = "mine.lua", source = ([[
      local check, list = use("base.patterns").check, json_decode(%q)
      fragment("f", function(out)
        local seen = {}
        for i, text in ipairs(list) do
          local groups, problem = check(text)
          seen[i] = { groups = groups or -1, problem = problem or "" }
        end
        out:file("seen.json", json({ seen = seen }))
      end)]]):format(require("cjson").encode(list)) } } })
    e:render()
    assert.same({}, e.host.failures)
    local seen = require("cjson").decode(e:output().files["seen.json"]).seen
    for i, text in ipairs(list) do
      assert.equal(GOOD[text] or -1, seen[i].groups, text .. ": " .. seen[i].problem)
      if not GOOD[text] then assert.truthy(#seen[i].problem > 5, text) end
    end
  end)
end)
