--- What a fuzzer found can be had again from what tools/fuzz/finding prints of it.

local posix = require("support.posix")

local PROGRAM = [[
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    assert(length < 3 || bytes[0] != 'b' || bytes[1] != 'a' || bytes[2] != 'd');
    return 0;
}
]]

describe("a fuzzer's finding", function()
  local directory, program

  setup(function()
    directory = posix.make_temporary_directory("/tmp/spec-fuzz-")
    program = directory .. "/fuzz"
    posix.write_file(program .. ".c", PROGRAM)
    local output, code = posix.run({ "clang", "-fsanitize=fuzzer", "-o", program, program .. ".c" })
    assert.equal(0, code, output)
  end)
  teardown(function() posix.run({ "rm", "-rf", directory }) end)

  --- The program's only seed is the input; what is printed of its run, and the input as it is in there.
  local function found(input)
    posix.run({ "mkdir", "-p", directory .. "/seeds" })
    posix.write_file(directory .. "/seeds/input", input)
    local log, code = posix.run({ program, "-max_total_time=20", "-max_len=65536", "-artifact_prefix=" .. directory .. "/found-",
      directory .. "/seeds" })
    assert.are_not.equal(0, code, log)
    posix.write_file(directory .. "/log", log)
    local printed
    printed, code = posix.run({ "tools/fuzz/finding", directory .. "/log" })
    assert.equal(0, code, printed)
    posix.write_file(directory .. "/base64", assert(printed:match("makes it from:\n([%w+/=]+)"), printed))
    assert.equal(0, select(2, posix.run({ "sh", "-c", 'base64 -d "$1/base64" >"$1/again"', "sh", directory })))
    return printed, posix.read_file(directory .. "/again")
  end

  it("has the assertion, the place and the input", function()
    local printed, input = found("bad\0\n\255")
    assert.matches("Assertion `length < 3", printed, 1, true)
    assert.matches("deadly signal", printed, 1, true)
    assert.matches("in LLVMFuzzerTestOneInput", printed, 1, true)
    assert.matches("input found%-crash%-%x+, 6 bytes; ", printed)
    assert.equal("bad\0\n\255", input)
  end)

  it("has the beginning of a long input, and its length", function()
    local whole = "bad" .. ("0123456789"):rep(1000)
    local printed, input = found(whole)
    assert.matches("10003 bytes, its first 4096;", printed, 1, true)
    assert.equal(whole:sub(1, 4096), input)
  end)
end)
