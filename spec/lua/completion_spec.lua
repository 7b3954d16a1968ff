--- Shell completion and manual pages: made from the tables of options, and taken by the programs that read them.

local posix = require("support.posix")

local BIN = os.getenv("HAPTIC_BIN") or "build/release/core/haptic"

local function run(...) return posix.run({ ... }) end
local function sh(script) return posix.run({ "bash", "-c", script }) end
local function has(program) return select(2, sh("command -v " .. program .. " >/dev/null")) == 0 end

--- What bash offers behind these words, sorted, in one line.
local function bash(directory, ...)
  local words = { ... }
  for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
  local output, code = sh(("cd %s && source <(%s completion bash) && COMP_WORDS=(haptic %s) COMP_CWORD=%d && "
    .. "_haptic 2>/dev/null; printf '%%s\\n' \"${COMPREPLY[@]}\" | sort | tr '\\n' ' '"):format(directory, posix.real_path(BIN),
    table.concat(words, " "), #words))
  assert.equal(0, code, output)
  return (output:gsub("%s+$", ""))
end

describe("completion", function()
  local directory

  setup(function()
    directory = posix.make_temporary_directory("/tmp/haptic-completion.")
    run("mkdir", directory .. "/folder")
    posix.write_file(directory .. "/file.yaml", "")
  end)
  teardown(function() run("rm", "-rf", directory) end)

  it("by bash: commands, options, their values, files", function()
    assert.equal("render renderer repl", bash(directory, "re"))
    assert.equal("--haproxy-binary --haproxy-version", bash(directory, "render", "--hap"))
    assert.equal("junit", bash(directory, "validate", "-o", "ju"))
    assert.equal("attach", bash(directory, "run", "--haproxy", "a"))
    -- bash cuts words at "=".
    assert.equal("attach", bash(directory, "run", "--haproxy", "=", "a"))
    assert.equal("attach fleet local", bash(directory, "run", "--haproxy", "="))
    assert.equal("folder", bash(directory, "render", "-d", "f"))
    assert.equal("file.yaml folder", bash(directory, "render", "--set", "a=b", "f"))
    assert.equal("apply", bash(directory, "crds", ""))
    assert.equal("view", bash(directory, "config", ""))
    assert.equal("json text", bash(directory, "rbac", "-o", ""))
    assert.equal("github json junit sarif tap text", bash(directory, "test", "-o", ""))
    assert.equal("bash fish zsh", bash(directory, "completion", ""))
    assert.equal("", bash(directory, "no-such-command", ""))
  end)

  --- What fish offers behind a line, sorted, in one line.
  local function fish(line)
    local output, code = sh(("cd %s && fish --no-config -c 'source fish; complete -C \"%s\"' | cut -f1 | sort | tr '\\n' ' '"):format(
      directory, line))
    assert.equal(0, code, output)
    return (output:gsub("%s+$", ""))
  end

  --- What zsh's own completion makes of each line, in a terminal of its own. DIR is the directory.
  local ZSH = [==[
    zmodload zsh/zpty
    zpty shell zsh -f -i
    finish='finish() { zle complete-word; print -rn -- "$BUFFER" >DIR/new; mv DIR/new DIR/line; BUFFER=; }'
    zpty -w shell 'stty -echo; TERM=vt100; fpath=(DIR $fpath); autoload -Uz compinit; compinit -u -D'
    zpty -w shell "$finish; zle -N finish; bindkey '^X' finish; unsetopt beep; print RE''ADY"
    local got= chunk=
    until [[ $got == *READY* ]]; do zpty -r shell chunk || exit 3; got+=$chunk; done
    for line; do
      zpty -w -n shell "$line"$'\C-X'
      until [[ -e DIR/line ]]; do sleep 0.02; done
      print -r -- "$line -> $(<DIR/line)"
      rm DIR/line
    done
    zpty -d shell
  ]==]
  local function zsh(lines)
    posix.write_file(directory .. "/ask.zsh", (ZSH:gsub("DIR", directory)))
    local output, code = sh(("cd %s && timeout 60 zsh -f ask.zsh '%s' 2>&1"):format(directory, table.concat(lines, "' '")))
    assert.equal(0, code, output)
    return output
  end

  it("by fish itself: commands, options, their values, files", function()
    if not has("fish") then return print("left out: fish, as it is not installed") end
    posix.write_file(directory .. "/fish", (run(BIN, "completion", "fish")))
    assert.equal("render renderer repl", fish("haptic re"))
    assert.equal("--haproxy-binary --haproxy-version", fish("haptic render --hap"))
    assert.equal("github json junit sarif text", fish("haptic validate -o "))
    assert.equal("github json junit sarif tap text", fish("haptic test -o "))
    assert.equal("json text", fish("haptic explain -o "))
    assert.equal("attach fleet local", fish("haptic run --haproxy "))
    assert.equal("reload", fish("haptic diff --fail-on "))
    assert.equal("folder/", fish("haptic render -d "))
    assert.equal("file.yaml folder/", fish("haptic render f"):gsub("fish ?", ""))
    assert.equal("view", fish("haptic config "))
    assert.equal("apply", fish("haptic crds "))
    assert.equal("bash fish zsh", fish("haptic completion "))
    assert.truthy(fish("haptic man "):find("render repl", 1, true))
  end)

  it("by zsh itself: what is the only one is written", function()
    if not has("zsh") then return print("left out: zsh, as it is not installed") end
    posix.write_file(directory .. "/_haptic", (run(BIN, "completion", "zsh")))
    local expected, lines = {}, { "haptic validat", "haptic render --haproxy-b", "haptic validate -o ju", "haptic run --haproxy at",
      "haptic render -d fol", "haptic render file.y", "haptic config vi", "haptic crds ap", "haptic completion z",
      "haptic man val", "haptic explain -o ju" }
    local finished = { "e", "inary", "nit", "tach", "der/", "aml", "ew", "ply", "sh", "idate", "" } -- explain knows no junit
    for i, line in ipairs(lines) do expected[i] = line .. " -> " .. line .. finished[i] end
    assert.equal(table.concat(expected, "\n"), (zsh(lines):gsub(" *\n", "\n"):gsub("%s+$", "")))
  end)

  it("by zsh and fish: scripts that these shells read", function()
    for shell, words in pairs({ zsh = { "#compdef haptic", "'(-d --directory)'{-d,--directory}'[" },
      fish = { "complete -c haptic -n '__fish_seen_subcommand_from render' -l directory -s d" } }) do
      local script, code = run(BIN, "completion", shell)
      assert.equal(0, code)
      for _, word in ipairs(words) do assert.truthy(script:find(word, 1, true), word) end
      if has(shell) then
        posix.write_file(directory .. "/" .. shell, script)
        local output
        output, code = run(shell, "-n", directory .. "/" .. shell)
        assert.equal(0, code, output)
      else
        print("left out: " .. shell .. " reading its script, as it is not installed")
      end
    end
    local output, code = run(BIN, "completion", "tcsh")
    assert.equal(2, code)
    assert.matches("bash, zsh or fish", output)
  end)

  it("man pages: one for each command, with each option, and no warning", function()
    local names = run(BIN, "man", "--list")
    assert.matches("\nsnapshot\n", names)
    for name in names:gmatch("%a+") do
      local page, code = run(BIN, "man", name)
      assert.equal(0, code)
      local help = run(BIN, name, "--help")
      for option in help:gmatch("\n  %-?%a?,? *%-%-([%w-]+)") do
        assert.truthy(page:find("\\fB\\-\\-" .. option:gsub("%-", "\\-"), 1, true), name .. " --" .. option)
      end
      posix.write_file(directory .. "/" .. name .. ".1", page)
    end
    posix.write_file(directory .. "/haptic.1", (run(BIN, "man")))
    for _, checker in ipairs({ "groff -man -Tutf8 -ww -z", "mandoc -Tlint -Wwarning" }) do
      if has(checker:match("%a+")) then
        -- Pages have no date, so that each build gives the same bytes.
        assert.equal("", (sh(("for p in %s/*.1; do %s $p; done 2>&1 | grep -v 'missing date, using'"):format(directory, checker))))
      else
        print("left out: " .. checker .. ", as it is not installed")
      end
    end
    assert.equal(2, select(2, run(BIN, "man", "nothing")))
  end)

  it("are installed by cmake", function()
    local build = BIN:match("^(.*)/core/haptic$")
    local output, code = run("cmake", "--install", build, "--prefix", directory .. "/installed")
    assert.equal(0, code, output)
    for _, path in ipairs({ "man/man1/haptic.1", "man/man1/haptic-render.1", "man/man1/haptic-run.1",
      "bash-completion/completions/haptic", "zsh/site-functions/_haptic", "fish/vendor_completions.d/haptic.fish" }) do
      assert.is_true(#(posix.read_file(directory .. "/installed/share/" .. path) or "") > 200, path)
    end
    assert.equal((run(BIN, "man", "diff")), posix.read_file(directory .. "/installed/share/man/man1/haptic-diff.1"))
  end)
end)
