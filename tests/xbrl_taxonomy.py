"""A small XBRL taxonomy package of made-up concepts, as an authority would publish one."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BASE = "http://www.regulator.example/register"
ENTRY = f"{BASE}/mod/register.json"

_PACKAGE = f"""<?xml version="1.0" encoding="UTF-8"?>
<tp:taxonomyPackage xml:lang="en" xmlns:tp="http://xbrl.org/2016/taxonomy-package"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://xbrl.org/2016/taxonomy-package
 http://xbrl.org/2016/taxonomy-package.xsd">
<tp:identifier>{BASE}/1.0</tp:identifier>
<tp:name>Register</tp:name><tp:version>1.0</tp:version>
<tp:entryPoints><tp:entryPoint><tp:name>Register</tp:name>
<tp:entryPointDocument href="{BASE}/register.xsd"/></tp:entryPoint></tp:entryPoints>
</tp:taxonomyPackage>
"""
_CATALOG = f"""<?xml version="1.0" encoding="UTF-8"?>
<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog">
<rewriteURI uriStartString="{BASE}/" rewritePrefix="../register/"/></catalog>
"""
_SCHEMA = f"""<?xml version="1.0" encoding="UTF-8"?>
<xs:schema targetNamespace="{BASE}" elementFormDefault="qualified" xmlns:reg="{BASE}"
 xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xbrli="http://www.xbrl.org/2003/instance"
 xmlns:xbrldt="http://xbrl.org/2005/xbrldt">
<xs:import namespace="http://www.xbrl.org/2003/instance"
 schemaLocation="http://www.xbrl.org/2003/xbrl-instance-2003-12-31.xsd"/>
<xs:import namespace="http://xbrl.org/2005/xbrldt"
 schemaLocation="http://www.xbrl.org/2005/xbrldt-2005.xsd"/>
<xs:element id="reg_Contract" name="Contract" type="xs:string"/>
<xs:element id="reg_ContractAxis" name="ContractAxis" type="xbrli:stringItemType"
 substitutionGroup="xbrldt:dimensionItem" abstract="true" xbrli:periodType="instant"
 xbrldt:typedDomainRef="#reg_Contract"/>
<xs:element id="reg_Provider" name="Provider" type="xbrli:stringItemType"
 substitutionGroup="xbrli:item" xbrli:periodType="instant" nillable="true"/>
<xs:element id="reg_Cost" name="Cost" type="xbrli:monetaryItemType"
 substitutionGroup="xbrli:item" xbrli:periodType="instant" nillable="true"/>
<xs:element id="reg_Start" name="Start" type="xbrli:dateItemType"
 substitutionGroup="xbrli:item" xbrli:periodType="instant" nillable="true"/>
<xs:element id="reg_Filed" name="Filed" type="xbrli:booleanItemType"
 substitutionGroup="xbrli:item" xbrli:periodType="instant" nillable="true"/>
</xs:schema>
"""
_DIMENSIONS = {
    "entity": "$entityID",
    "period": "$refPeriod@end",
    "reg:ContractAxis": "$c0010",
}
_TEMPLATE = {
    "columns": {
        "c0010": {},
        "c0020": {"dimensions": {"concept": "reg:Provider", "language": "en"}},
        "c0030": {
            "dimensions": {"concept": "reg:Cost", "unit": "$baseCurrency"},
            "decimals": "$decimalsMonetary",
        },
        "c0040": {"dimensions": {"concept": "reg:Start"}},
    },
    "dimensions": _DIMENSIONS,
}
_INDICATORS = {
    "columns": {"templateID": {}, "reported": {"dimensions": {"concept": "reg:Filed"}}},
    "dimensions": {
        "entity": "$entityID",
        "period": "$refPeriod@end",
        "reg:ContractAxis": "$templateID",
    },
}
MODULE = {
    "documentInfo": {
        "documentType": "https://xbrl.org/2021/xbrl-csv",
        "namespaces": {
            "reg": BASE,
            "xbrl": "https://xbrl.org/2021",
            "iso4217": "http://www.xbrl.org/2003/iso4217",
            "lei": "http://standards.iso.org/iso/17442",
        },
        "taxonomy": [f"{BASE}/register.xsd"],
    },
    "tableTemplates": {"R_01": _TEMPLATE, "R_02": _TEMPLATE, "FilingIndicators": _INDICATORS},
    "tables": {
        "r_01": {"template": "R_01", "url": "r_01.csv", "optional": True},
        "r_02": {"template": "R_02", "url": "r_02.csv", "optional": True},
        "FilingIndicators": {"url": "FilingIndicators.csv", "optional": True},
    },
    "parameterURL": "parameters.csv",
}


def write(file: Path) -> Path:
    """Write the taxonomy package."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("register/META-INF/taxonomyPackage.xml", _PACKAGE)
        archive.writestr("register/META-INF/catalog.xml", _CATALOG)
        archive.writestr("register/register/register.xsd", _SCHEMA)
        archive.writestr("register/register/mod/register.json", json.dumps(MODULE, indent=1))
    return file
