# The only state that is left when the pillar has mistakes: it names them all.
{%- from "netboot/map.jinja" import problems with context %}

netboot-config-valid:
  netboot.config_valid:
    - name: pillar netboot
    - problems: {{ problems | json }}
