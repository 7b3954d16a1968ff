--- The commands that the manual's pages have.

local M = {}

--- Those of a page, in its order: lines after "$ " in console blocks, all lines of shell blocks, and programs of ours
-- elsewhere. A line that goes on in the next one is one command; comments are left out.
function M.commands(page)
  local list, language, continued = {}, nil, nil
  for line in io.lines(page) do
    local fence = line:match("^%s*```(.*)$")
    if fence then
      language = not language and fence:match("^%S*") or nil
    elseif language then
      local command
      if language == "console" then command = line:match("^%$ (.+)$") end
      if language == "sh" or language == "bash" or language == "shell" then
        command = line:match("^%s*([^%s#].*)$")
      end
      if language == "" then
        command = line:match("^%$ (.+)$") or line:match("^(haptic .+)$") or line:match("^(kubectl .+)$")
          or line:match("^(tools/%a+ .*%-%-.+)$") or line:match("^(tools/%a+)$")
      end
      if command and continued then command = continued .. " " .. command end
      continued = command and command:match("^(.-)%s*\\$")
      if command and not continued then
        list[#list + 1] = command:gsub("%s+#.*$", ""):gsub("%s%s%s+%l.*$", "")
      end
    end
  end
  return list
end

return M
