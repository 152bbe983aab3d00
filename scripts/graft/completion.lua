-- Completion for shells, made from the list of commands and their help: graft help --completion bash|zsh.
--
-- The options of a recipe are known to the recipe alone, so the shell asks `graft run RECIPE --help` for them.

local completion = {}

completion.shells = { "bash", "zsh" }

-- Options in a text of help: a list of {flag=, takes=boolean, choices=list or nil}.
local function options_of(text)
   local list = {}
   for flag, value, help in text:gmatch("\n  (%-%-[%w%-]+) ?(%u*)([^\n]*)") do
      local choices
      local words = help:match("one of ([^;]+)")
      if words then
         choices = {}
         for word in words:gmatch("[%w_.-]+") do
            choices[#choices + 1] = word
         end
      end
      list[#list + 1] = { flag = flag, takes = value ~= "", choices = choices }
   end
   list[#list + 1] = { flag = "--help", takes = false }
   return list
end

local function flags(list)
   local words = {}
   for i, option in ipairs(list) do
      words[i] = option.flag
   end
   return table.concat(words, " ")
end

-- Every command: {name=, what=, options=}.
local function commands()
   local list = {}
   local cli = require "graft.cli"
   for _, command in ipairs(cli.commands) do
      local text = cli.command_help(command[1], 1000) -- a line for each option
      list[#list + 1] = { name = command[1], what = command[3], options = text and options_of("\n" .. text) or {} }
   end
   return list
end

-- "--flag" -> choices, over all commands.
local function all_choices(list)
   local cases, seen = {}, {}
   for _, command in ipairs(list) do
      for _, option in ipairs(command.options) do
         if option.choices and not seen[option.flag] then
            seen[option.flag] = true
            cases[#cases + 1] = { option.flag, table.concat(option.choices, " ") }
         end
      end
   end
   return cases
end

local function names(list)
   local words = {}
   for i, command in ipairs(list) do
      words[i] = command.name
   end
   return table.concat(words, " ")
end

local function recipes()
   return table.concat(require("graft.recipe").shipped(), " ")
end

-- What there is help on, as far as a shell takes it for one word.
local function topics()
   local list, seen = {}, {}
   for _, name in ipairs(require("graft.commands.help").names()) do
      if name:find("^[%w_.]+$") and not seen[name] then
         list[#list + 1], seen[name] = name, true
      end
   end
   for _, command in ipairs(commands()) do
      if not seen[command.name] then
         list[#list + 1] = command.name
      end
   end
   table.sort(list)
   return table.concat(list, " ")
end

local ASK = [["$program" run "$recipe" --help 2>/dev/null | sed -n 's/^  \(--[a-z0-9-]*\).*/\1/p']]

local function bash(list)
   local lines = { "# bash completion for graft, made by: graft help --completion bash", "_graft() {",
      '    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}',
      "    local command=${COMP_WORDS[1]} recipe=${COMP_WORDS[2]} words=", "    COMPREPLY=()",
      "    if [ \"$COMP_CWORD\" -eq 1 ]; then",
      ("        COMPREPLY=($(compgen -W '%s --help --version' -- \"$current\"))"):format(
         names(list)), "        return", "    fi", "    case $before in" }
   for _, case in ipairs(all_choices(list)) do
      lines[#lines + 1] = ("    %s) COMPREPLY=($(compgen -W '%s' -- \"$current\")); return ;;"):format(case[1], case[2])
   end
   table.move({ "    esac", "    case $current in", "    -*)", "        case $command in" }, 1, 4, #lines + 1, lines)
   for _, command in ipairs(list) do
      lines[#lines + 1] = ("        %s) words='%s' ;;"):format(command.name, flags(command.options))
   end
   table.move({ "        esac", "        case $command in", "        run | plan)",
      "            [ \"$COMP_CWORD\" -lt 3 ] || words=\"$words $(" .. ASK .. ")\" ;;", "        esac",
      '        COMPREPLY=($(compgen -W "$words" -- "$current"))', "        return ;;", "    esac", "    case $command in",
      "    run | plan)", "        if [ \"$COMP_CWORD\" -eq 2 ]; then",
      ("            COMPREPLY=($(compgen -W '%s' -- \"$current\"))"):format(recipes()),
      "            local IFS=$'\\n'", "            compopt -o filenames", "            COMPREPLY+=($(compgen -d -- \"$current\")",
      "                $(compgen -f -X '!*.lua' -- \"$current\") $(compgen -f -X '!*.graft' -- \"$current\"))",
      "        fi ;;",
      ("    help) COMPREPLY=($(compgen -W '%s' -- \"$current\")) ;;"):format(topics()), "    esac", "}",
      "# What is none of these is a file.", "complete -o bashdefault -o default -F _graft graft" }, 1, 22, #lines + 1, lines)
   return table.concat(lines, "\n")
end

local function zsh(list)
   local lines = { "#compdef graft", "# zsh completion for graft, made by: graft help --completion zsh", "_graft() {",
      "    local program=$words[1] command=$words[2] recipe=$words[3]", "    local -a commands options", "    commands=(" }
   for _, command in ipairs(list) do
      lines[#lines + 1] = ("        '%s:%s'"):format(command.name, command.what:gsub("[:']", " "))
   end
   table.move({ "    )", "    if (( CURRENT == 2 )); then", "        _describe command commands", "        return", "    fi",
      "    case $words[CURRENT-1] in" }, 1, 6, #lines + 1, lines)
   for _, case in ipairs(all_choices(list)) do
      lines[#lines + 1] = ("    %s) compadd -- %s; return ;;"):format(case[1], case[2])
   end
   table.move({ "    esac", "    case $command in" }, 1, 2, #lines + 1, lines)
   for _, command in ipairs(list) do
      lines[#lines + 1] = ("    %s) options=(%s) ;;"):format(command.name, flags(command.options))
   end
   table.move({ "    esac", "    if [[ $words[CURRENT] == -* ]]; then",
      "        if [[ $command == (run|plan) ]] && (( CURRENT > 3 )); then", "            options+=($(" .. ASK .. "))",
      "        fi", "        compadd -- $options", "    elif [[ $command == (run|plan) ]] && (( CURRENT == 3 )); then",
      "        compadd -- " .. recipes(), "        _files -g '*.(lua|graft)'",
      "    elif [[ $command == help ]]; then",
      "        compadd -- " .. topics(),
      "    else", "        _files", "    fi", "}", '_graft "$@"' }, 1, 16, #lines + 1, lines)
   return table.concat(lines, "\n")
end

-- The text for a shell, "bash" or "zsh".
function completion.text(shell)
   return (shell == "bash" and bash or zsh)(commands())
end

return completion
