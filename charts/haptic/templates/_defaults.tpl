{{/* Values that are absent get their defaults: with "helm upgrade --reuse-values" Helm knows those of the chart before this one only.
files/defaults.json is made from values.yaml. Each file of templates begins with this. */}}
{{- define "haptic.defaults" -}}
{{- $root := . -}}
{{- range $path, $default := .Files.Get "files/defaults.json" | fromJson -}}
{{- $names := splitList "." $path -}}
{{- $at := $root.Values -}}
{{- range $name := initial $names -}}
{{- if not (kindIs "map" (get $at $name)) -}}
{{- $_ := set $at $name dict -}}
{{- end -}}
{{- $at = get $at $name -}}
{{- end -}}
{{- if not (hasKey $at (last $names)) -}}
{{- $_ := set $at (last $names) $default -}}
{{- end -}}
{{- end -}}
{{- end }}
