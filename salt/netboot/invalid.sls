# The only state when the pillar has mistakes: it lists them all.
{%- from "netboot/map.jinja" import problems with context %}

netboot-config-valid:
  netboot.config_valid:
    - name: pillar netboot
    - problems: {{ problems | json }}
