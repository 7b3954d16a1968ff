--- lists.lua — who may ask: a list of addresses that are refused, and one of those that are let in.

local addresses = use("effects.addresses")

use("effects").declare("access", {
  place = "access",
  annotations = { "allow_list", "deny_list" },
  maps = { addresses.map },
  rules = function(rule, has)
    addresses.write_key(rule, { "if", unpack(has("allow", "deny", "limit")) })
    rule("http-request", "deny", "if", has("deny"), addresses.listed("deny"))
    -- A client without an address, behind a socket of this machine.
    rule("http-request", "deny", "if", has("deny"), "!{", "var(txn.ip)", "-m", "found", "}")
    rule("http-request", "deny", "if", has("allow"), addresses.listed("allow", true))
  end,
  put = function(values, record)
    local words = {}
    for word, name in pairs({ allow = "allow_list", deny = "deny_list" }) do
      if values[name] then
        addresses.put(record, word, values[name])
        words[#words + 1] = word
      end
    end
    return words
  end,
})
