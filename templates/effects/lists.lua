--- lists.lua — which clients may ask: a list of refused addresses, and a list of allowed ones.

local addresses, named = use("effects.addresses"), use("effects.addresses_named")

use("effects").declare("access", {
  place = "access",
  annotations = { "allow_list", "deny_list" },
  maps = { addresses.map, named.map },
  rules = function(rule, has)
    addresses.write_key(rule, { "if", unpack(has("allow", "deny", "limit")) })
    named.write(rule, has, "deny")
    named.write(rule, has, "allow")
    rule("http-request", "deny", "if", has("deny"), addresses.listed("deny"))
    rule("http-request", "deny", "if", has("deny-named"), named.listed("deny"))
    -- A client without an address, which connects through a socket of this machine.
    rule("http-request", "deny", "if", has("deny"), "!{", "var(txn.ip)", "-m", "found", "}")
    rule("http-request", "deny", "if", has("allow"), addresses.listed("allow", true), named.listed("allow", true))
  end,
  judge = function(values, tell)
    named.judge({ "allow_list", "deny_list" }, values, "routes without a list of their own answer 503", tell)
  end,
  put = function(values, record)
    local words = {}
    for word, name in pairs({ allow = "allow_list", deny = "deny_list" }) do
      if values[name] then
        words[#words + 1] = word
        local more, problem = named.put(record, word, values[name])
        if problem then return nil, name:gsub("_", "-") .. ": " .. problem end
        words[#words + 1] = more
      end
    end
    return words
  end,
})
