{{/* Names and labels. None depends on the release's name: the manual's commands name the objects. */}}

{{- define "haptic.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "haptic.fullname" -}}
{{- .Values.fullnameOverride | default (include "haptic.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "haptic.serviceAccountName" -}}
{{- if .Values.controller.serviceAccount.create -}}
{{- .Values.controller.serviceAccount.name | default (include "haptic.fullname" .) -}}
{{- else -}}
{{- .Values.controller.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end }}

{{/* What is not in a namespace needs a name that two installations do not share. */}}
{{- define "haptic.clusterName" -}}
{{- printf "%s-%s" (include "haptic.fullname" .) .Release.Namespace | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The labels by which pods are found; given a list: the root, the component. */}}
{{- define "haptic.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "haptic.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels of an object, its own from values last; given a list: the root, the component, its own (or nothing). */}}
{{- define "haptic.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict -}}
{{- if gt (len .) 2 -}}{{- $own = index . 2 | default dict -}}{{- end -}}
{{- $fixed := include "haptic.selector" . | fromYaml -}}
{{- $chart := dict
      "app.kubernetes.io/version" ($root.Chart.AppVersion | toString)
      "app.kubernetes.io/managed-by" $root.Release.Service
      "app.kubernetes.io/part-of" (include "haptic.name" $root)
      "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- mergeOverwrite (dict) $chart ($root.Values.commonLabels | default dict) $own $fixed | toYaml -}}
{{- end }}

{{/* Name, namespace, labels and annotations; given a list: the root, the name, the component, own labels, own annotations. */}}
{{- define "haptic.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}
{{- $own := dict -}}
{{- if gt (len .) 3 -}}{{- $labels = index . 3 -}}{{- end -}}
{{- if gt (len .) 4 -}}{{- $own = index . 4 -}}{{- end -}}
name: {{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
{{- include "haptic.marks" (list $root (index . 2) $labels $own) | nindent 0 }}
{{- end }}

{{/* Labels and annotations alone; given a list: the root, the component, own labels, own annotations. */}}
{{- define "haptic.marks" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "haptic.labels" (list $root (index . 1) (index . 2)) | nindent 2 }}
{{- with mergeOverwrite (dict) ($root.Values.commonAnnotations | default dict) (index . 3 | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* An image; given a list: the root, its values, the default tag. */}}
{{- define "haptic.image" -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 2)) -}}
{{- end -}}
{{- end }}
