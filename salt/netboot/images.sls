# ISOs: fetched, verified, unpacked.
{%- from "netboot/map.jinja" import config, problems with context %}

include:
  - netboot.{{ 'invalid' if problems else 'base' }}
{%- for image in config.get('images', []) %}

netboot-image-{{ image.label }}-fetched:
  alt_iso.fetched:
    - name: {{ config.root }}/dist/{{ image.file }}
    - url: {{ image.url | json }}
    - checksum: {{ image.checksum | json }}
    - staging: {{ config.root }}/.staging
    - require:
      - file: netboot-staging

netboot-image-{{ image.label }}-unpacked:
  alt_iso.unpacked:
    - name: {{ config.root }}/tftp/netboot
    - iso: {{ config.root }}/dist/{{ image.file }}
    - image: {{ image | json }}
    - checksum: {{ image.checksum | json }}
    - staging: {{ config.root }}/.staging
    - require:
      - alt_iso: netboot-image-{{ image.label }}-fetched
{%- endfor %}
