--- out:certificate() and out:crt_list(): what they refuse, and with which words.

local program = require("spec.support.program")

local PEM = "-----BEGIN CERTIFICATE-----"

--- The message of a fragment that does this with `out`; nil when it succeeds.
local function refusal(code)
  local e = program.engine({ libraries = false, kinds = {}, scripts = {
    { name = "t.lua", source = "fragment('f', function(out) " .. code .. " end)" },
  } })
  e:render()
  local _, message = next(e.host.failures)
  return message
end

describe("a certificate", function()
  it("needs a name of a file and a content", function()
    assert.is_nil(refusal(("out:certificate('a.pem', { cert = %q })"):format(PEM)))
    assert.matches("t.lua:1: certificate: it has neither cert nor key nor ca nor crl", refusal("out:certificate('a.pem', {})"))
    assert.matches("certificate: cert is no text", refusal("out:certificate('a.pem', { cert = '' })"))
    assert.matches("certificate: .*certs.*did you mean .cert.", refusal("out:certificate('a.pem', { certs = 'x' })"))
    assert.truthy(refusal("out:certificate('../a.pem', { cert = 'x' })"))
    assert.matches("a.pem is emitted twice with different content",
      refusal("out:certificate('a.pem', { cert = 'x' }) out:certificate('a.pem', { cert = 'y' })"))
  end)
end)

describe("a crt-list", function()
  it("takes names, and options that HAProxy tells back", function()
    assert.is_nil(refusal("out:crt_list('x.list', 'a.pem', { sni = { 'a.example', '*.b.example' }, options = { 'alpn', 'h2,http/1.1' } })"))
    assert.is_nil(refusal("out:crt_list('x.list', { 'ec.pem', 'rsa.pem' })"))
    assert.matches("crt_list: the option ca%-verify%-file is not available in a crt%-list: write it in the bind line",
      refusal("out:crt_list('x.list', 'a.pem', { options = { 'ca-verify-file', 'certs/b.pem' } })"))
    assert.matches("an option is one word without special characters: ",
      refusal("out:crt_list('x.list', 'a.pem', { options = { 'alpn h2' } })"))
    assert.matches("an option is one word without special characters: ",
      refusal("out:crt_list('x.list', 'a.pem', { options = { 'h2]\\na.pem' } })"))
    assert.matches("options is a list of words", refusal("out:crt_list('x.list', 'a.pem', { options = {} })"))
  end)

  it("refuses names that no client can ask for", function()
    for _, name in ipairs({ "Shop.example", "*.*.example", "a b", "", "a..b", "a.example.", "!a.example", "*" }) do
      assert.matches("sni: no DNS name in lower case: ",
        refusal(("out:crt_list('x.list', 'a.pem', { sni = { %q } })"):format(name)), nil, name)
    end
    assert.matches("a crt%-list's name ends in .list: ", refusal("out:crt_list('x', 'a.pem')"))
    assert.matches("an entry goes with names: sni is missing",
      refusal("out:crt_list('x.list', 'a.pem', { entry = { map = 'm.map', value = 'v' } })"))
  end)
end)
