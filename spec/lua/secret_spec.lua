--- Handles of Secrets in the helpers of templates.
local helpers = require("haptic.helpers")
local secret = require("haptic.secret")

local DIGITS = "HapticSecret" .. ("0a"):rep(16)
local HANDLE = DIGITS .. "End"

describe("a handle", function()
  it("is recognised", function()
    assert.is_true(secret.is_handle(HANDLE))
    assert.is_true(secret.is_in("Bearer " .. HANDLE .. "!"))
    assert.is_false(secret.is_handle(HANDLE .. "x"))
    assert.is_false(secret.is_in("HapticSecretary"))
    assert.is_false(secret.is_in(HANDLE:lower()))
  end)

  it("is asked for in another form by escaping", function()
    assert.equal("100%% " .. DIGITS .. "Fmt", helpers.format_escape("100% " .. HANDLE))
    assert.equal("a\\." .. DIGITS .. "Rgx" .. DIGITS .. "Rgx", helpers.regex_escape("a." .. HANDLE .. HANDLE))
    assert.has_error(function() helpers.format_escape(helpers.regex_escape(HANDLE)) end,
      "the value of a Secret is escaped twice")
  end)

  it("is what decoding it gives, and cannot be encoded", function()
    assert.equal(HANDLE, helpers.b64decode(HANDLE))
    assert.has_error(function() helpers.b64decode("AAAA" .. HANDLE) end)
    assert.has_error(function() helpers.b64encode("user:" .. HANDLE) end)
    assert.equal("dXNlcg==", helpers.b64encode("user"))
  end)
end)
