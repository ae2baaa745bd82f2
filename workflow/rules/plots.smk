rule plots:
    input:
        plan.plot_outputs(),
    message:
        "Plots of recordings, features, f-I curves and impedance."


rule plot_recordings:
    input:
        lambda wildcards: plan.plot_recordings_inputs(wildcards.cell),
    output:
        f"{RESULTS}/plots/recordings/{{cell}}.pdf",
    log:
        f"{LOGS}/plot_recordings/{{cell}}.log",
    benchmark:
        f"{LOGS}/plot_recordings/{{cell}}.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=10,
    params:
        item=lambda wildcards: plan.settings("plot_recordings", wildcards.cell),
        code=plan.code["plot_recordings"],
    message:
        "Draw the sweeps of {wildcards.cell}."
    shell:
        "ephysflow plot-recordings --plan {resources.plan:q} --item {wildcards.cell:q} > {log:q} 2>&1"


rule plot_efeatures:
    input:
        lambda wildcards: plan.plot_efeatures_inputs(wildcards.target_set),
    output:
        f"{RESULTS}/plots/efeatures/{{target_set}}features.pdf",
    log:
        f"{LOGS}/plot_efeatures/{{target_set}}features.log",
    benchmark:
        f"{LOGS}/plot_efeatures/{{target_set}}features.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=10,
    params:
        item=lambda wildcards: plan.settings("plot_efeatures", wildcards.target_set),
        code=plan.code["plot_efeatures"],
    message:
        "Draw features against amplitude with their targets (set '{wildcards.target_set}')."
    shell:
        "ephysflow plot-efeatures --plan {resources.plan:q} --item '{wildcards.target_set}' > {log:q} 2>&1"


rule plot_overview:
    input:
        plan.overview_inputs(),
    output:
        report(
            plan.overview_outputs()[0],
            caption="../report/fi_curves.rst",
            category="Overview",
        ),
        plan.overview_outputs()[1],
        report(
            plan.overview_outputs()[2],
            caption="../report/summary.rst",
            category="Overview",
        ),
    log:
        f"{LOGS}/plot_overview.log",
    benchmark:
        f"{LOGS}/plot_overview.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=20,
    params:
        item=plan.settings("plot_overview") if plan.sets else "",
        code=plan.code["plot_overview"],
    message:
        "Draw f-I curves, impedance and the summary figure."
    shell:
        "ephysflow plot-overview --plan {resources.plan:q} > {log:q} 2>&1"
